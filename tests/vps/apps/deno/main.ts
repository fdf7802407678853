import { Hono } from "hono";

const name: string = Deno.env.get("PROJECT_NAME") ?? "";
const app = new Hono();
app.get("/", (c) => c.text(`Deno in ${name}`));

Deno.serve({ hostname: "127.0.0.1", port: Number(Deno.env.get("PORT")) }, app.fetch);
