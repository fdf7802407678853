document.title = `Vite at ${location.pathname}`;
