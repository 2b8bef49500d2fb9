// A router's CPython, compiled to WebAssembly (npm's package pyodide), as a command: node python.mjs PYODIDE ARGUMENTS
//
// Takes what the recipes' stand-ins give a Python: SCRIPT ARGUMENTS, or -m MODULE ARGUMENTS. Each argument that is an
// absolute path of this machine is there under the same path, with the folder that it is in. Must not know what the
// scripts do. Exit codes: that of the script; 1 with a traceback for what it raises.
import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";

const [home, ...words] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${home}/pyodide.mjs`));
const python = await loadPyodide({
  indexURL: home,
  env: { HOME: "/", PYTHONHASHSEED: process.env.PYTHONHASHSEED ?? "random" },
});

const mounted = [];
function mount(folder) {
  if (mounted.some((other) => folder === other || folder.startsWith(`${other}/`))) return;
  python.FS.mkdirTree(folder);
  python.FS.mount(python.FS.filesystems.NODEFS, { root: folder }, folder);
  mounted.push(folder);
}
const paths = words.filter((word) => word.startsWith("/") && word !== "/" && existsSync(word));
for (const path of paths) mount(statSync(path).isDirectory() ? path : dirname(path));

python.globals.set("words", python.toPy(words));
try {
  python.runPython(`
import os, runpy, sys
words = list(words)
sys.dont_write_bytecode = True
if words[0] == "-m":
    sys.argv = words[1:]
    runpy.run_module(words[1], run_name="__main__", alter_sys=True)
else:
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
`);
} catch (error) {
  const exit = /^SystemExit: ?(\d*)$/m.exec(String(error.message));
  if (exit === null) process.stderr.write(`${error.message}\n`);
  process.exitCode = exit === null ? 1 : Number(exit[1] || 0);
}
