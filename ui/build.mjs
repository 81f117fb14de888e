// Build the page's files into the Python package; `--check` only says whether they are current.

import { readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const LIMIT = 100_000; // bytes of the script, from the issue that asked for the page
const SOURCE = new URL("src/", import.meta.url);
const PACKAGE = new URL("../airflow_batches/plugins/static/", import.meta.url);

/** Bundle one entry point, for the browsers that Airflow's own UI supports. */
async function bundled(entry) {
  const result = await build({
    entryPoints: [new URL(entry, SOURCE).pathname],
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
  });
  return result.outputFiles[0].text;
}

const files = {
  "index.html": await readFile(new URL("index.html", SOURCE), "utf8"),
  "page.js": await bundled("main.ts"),
  "page.css": await bundled("page.css"),
};

const size = Buffer.byteLength(files["page.js"]);
if (size > LIMIT) throw new Error(`page.js has ${size} bytes, more than ${LIMIT}`);

const stale = [];
for (const [name, text] of Object.entries(files)) {
  const file = new URL(name, PACKAGE);
  if (!process.argv.includes("--check")) await writeFile(file, text);
  else if ((await readFile(file, "utf8").catch(() => "")) !== text) stale.push(name);
}
if (stale.length) {
  console.error(`Not current: ${stale.join(", ")}. Run \`npm run build\` in ui/ and commit the result.`);
  process.exit(1);
}
console.log(`page.js: ${size} bytes`);
