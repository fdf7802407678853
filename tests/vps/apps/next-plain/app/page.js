export const dynamic = 'force-dynamic';
export default function Page() {
  return <p>Next.js plain in {process.env.PROJECT_NAME}</p>;
}
