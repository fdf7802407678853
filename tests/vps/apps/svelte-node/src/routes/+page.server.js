export const load = () => ({ name: process.env.PROJECT_NAME });
