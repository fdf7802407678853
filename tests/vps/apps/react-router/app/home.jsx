export const loader = () => ({ name: process.env.PROJECT_NAME });
export default function Home({ loaderData }) {
  return <p>React Router in {loaderData.name}</p>;
}
