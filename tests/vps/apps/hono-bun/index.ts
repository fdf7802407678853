import { Hono } from 'hono';
const { HOST, PORT, PROJECT_NAME } = process.env;
const app = new Hono().get('/', (context) => context.text(`Hono with Bun in ${PROJECT_NAME}`));
export default { hostname: HOST, port: Number(PORT), fetch: app.fetch };
