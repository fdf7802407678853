export default function Page() {
  return <p>Next.js export</p>;
}
