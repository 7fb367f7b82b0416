#!/usr/bin/env node
// solc's command line over the npm package: what forge and static analysers ask of it, and nothing more.
//   solc --version | --standard-json [FILE] | --combined-json KINDS FILE...
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const solc = require(path.join(__dirname, "..", ".tools", "npm", "node_modules", "solc"));

const SELECTION = { abi: "abi", bin: "evm.bytecode.object", "bin-runtime": "evm.deployedBytecode.object",
  srcmap: "evm.bytecode.sourceMap", "srcmap-runtime": "evm.deployedBytecode.sourceMap", hashes: "evm.methodIdentifiers",
  metadata: "metadata", userdoc: "userdoc", devdoc: "devdoc", "storage-layout": "storageLayout" };

// An import is a path below the base path, as with the native compiler.
function readImport(name) {
  try {
    return { contents: fs.readFileSync(path.resolve(options.get("--base-path") ?? ".", name), "utf8") };
  } catch (error) {
    return { error: error.message };
  }
}

function compile(input) {
  return JSON.parse(solc.compile(JSON.stringify(input), { import: readImport }));
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

// The wasm build must not be cut short by process.exit while stdout is a pipe: write to the end, then return.
function print(text) {
  let bytes = Buffer.from(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(fs.writeSync(1, bytes));
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

function combinedJson(kinds, files) {
  const wanted = kinds.split(",");
  const output = compile({
    language: "Solidity",
    sources: Object.fromEntries(files.map((file) => [file, { content: fs.readFileSync(file, "utf8") }])),
    settings: { outputSelection: { "*": { "*": Object.values(SELECTION), "": ["ast"] } } },
  });
  const faults = (output.errors ?? []).filter((fault) => fault.severity === "error");
  if (faults.length > 0) fail(faults.map((fault) => fault.formattedMessage).join("\n"));
  const contracts = {};
  for (const [file, byName] of Object.entries(output.contracts ?? {})) {
    for (const [name, contract] of Object.entries(byName)) {
      const entry = (contracts[`${file}:${name}`] = {});
      for (const kind of wanted.filter((kind) => kind in SELECTION)) {
        entry[kind] = SELECTION[kind].split(".").reduce((value, key) => value?.[key], contract);
      }
    }
  }
  const names = Object.keys(output.sources).sort((a, b) => output.sources[a].id - output.sources[b].id);
  const sources = Object.fromEntries(names.map((name) => [name, wanted.includes("ast") ? { AST: output.sources[name].ast } : {}]));
  return { contracts, sourceList: names, sources, version: solc.version() };
}

// Callers put the mode anywhere among options that steer the native compiler's reading of files.
const VALUED = ["--base-path", "--include-path", "--allow-paths", "--combined-json"];
const options = new Map();
const files = [];
for (const words = process.argv.slice(2); words.length > 0; ) {
  const word = words.shift();
  if (word.startsWith("-")) options.set(word, VALUED.includes(word) ? words.shift() : true);
  else files.push(word);
}

if (options.has("--version")) {
  print(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else if (options.has("--standard-json")) {
  print(JSON.stringify(compile(JSON.parse(fs.readFileSync(files[0] ?? 0, "utf8")))));
} else if (options.has("--combined-json")) {
  print(JSON.stringify(combinedJson(options.get("--combined-json"), files)));
} else {
  fail("usage: solc --version | --standard-json [FILE] | --combined-json KINDS FILE...");
}
