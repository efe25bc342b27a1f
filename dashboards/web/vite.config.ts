import { defineConfig } from "vite";

// The daemon embeds `dist`: one script and one style sheet with hashed names under /assets, so that they
// may be cached for ever, and nothing inline, so that the Content-Security-Policy can forbid it.
export default defineConfig({
  build: {
    target: "es2022",
    sourcemap: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    rollupOptions: { output: { entryFileNames: "assets/serin-[hash].js", assetFileNames: "assets/[name]-[hash][extname]" } },
  },
  server: { proxy: { "/api": process.env["SERIN_BASE"] ?? "http://127.0.0.1:8080" } },
});
