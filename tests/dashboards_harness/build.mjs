// Bundles the page: node build.mjs OUT, run where the packages are installed.
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const out = path.resolve(process.argv[2]);
const { build } = createRequire(path.join(out, 'package.json'))('esbuild');
const here = path.dirname(fileURLToPath(import.meta.url));

await build({
  entryPoints: [path.join(here, 'page/main.jsx')],
  outfile: path.join(out, 'page.js'),
  nodePaths: [path.join(out, 'node_modules')],
  bundle: true,
  format: 'iife',
  jsx: 'automatic',
  minify: true,
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.svg': 'text', '.woff': 'empty', '.woff2': 'dataurl', '.ttf': 'dataurl' },
  logLevel: 'error',
});
