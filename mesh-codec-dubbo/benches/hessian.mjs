// The same streams through npm's hessian.js, for scale: `node hessian.mjs DIRECTORY`, where `npm install hessian.js`
// has run in DIRECTORY. Prints name, operation, bytes, nanoseconds of CPU for all of them, and how many streams it cannot do.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const hessian = createRequire(join(process.argv[2], "x.js"))("hessian.js");
const here = new URL(".", import.meta.url);
const json = (path) => JSON.parse(readFileSync(new URL(path, here)));

function best(operation, items) {
  let least = Infinity;
  for (let round = 0; round < 5; round++) {
    const start = process.hrtime.bigint();
    const before = process.cpuUsage();
    let times = 0;
    while (process.hrtime.bigint() - start < 200_000_000n) {
      items.forEach(operation);
      times++;
    }
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, ((user + system) * 1000) / times);
  }
  return least;
}

const decode = (stream) => {
  const decoder = new hessian.DecoderV2(stream);
  const values = [];
  while (decoder.position() < stream.length) {
    values.push(decoder.read(true));
  }
  return values;
};

const encode = (values) => {
  const encoder = new hessian.EncoderV2();
  values.forEach((value) => encoder.write(value));
  return encoder.get();
};

/** What an operation can do, and bytes of it. */
function able(operation, items) {
  return items.filter(({ item }) => {
    try {
      operation(item);
      return true;
    } catch {
      return false;
    }
  });
}

const files = {};
for (const { name, file, ids, least = 0, most = Infinity } of json("streams/classes.json")) {
  files[file] ??= json(`../tests/vectors/${file}.json`);
  const streams = files[file].vectors
    .filter(({ id }) => ids.some((prefix) => id.startsWith(prefix)))
    .map(({ hex }) => Buffer.from(hex, "hex"))
    .filter(({ length }) => length >= least && length < most)
    .map((stream) => ({ item: stream, bytes: stream.length }));
  const decoded = able(decode, streams);
  const values = decoded.map(({ item, bytes }) => ({ item: decode(item), bytes }));
  for (const [what, operation, items] of [["decode", decode, decoded], ["encode", encode, able(encode, values)]]) {
    const bytes = items.reduce((sum, item) => sum + item.bytes, 0);
    const time = items.length === 0 ? 0 : best(({ item }) => operation(item), items);
    console.log([name, what, bytes, time.toFixed(0), streams.length - items.length].join("\t"));
  }
}
