export default defineNuxtConfig({ telemetry: false, compatibilityDate: '2024-10-01' });
