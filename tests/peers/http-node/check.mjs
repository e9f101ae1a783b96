// Reads and writes a server over HTTP with JavaScript's Arrow library. Needs Node 18 or newer and `npm install` in this folder:
//
//   node check.mjs http://HOST:PORT
//
// Prints a line for each check; exits with 1 if one fails. It makes table node_rows.

import { tableFromArrays, tableFromIPC, tableToIPC } from "apache-arrow";

const server = process.argv[2];
if (!server) {
  console.error("usage: node check.mjs http://HOST:PORT");
  process.exit(2);
}
let failed = false;

function check(name, ok, ...info) {
  failed ||= !ok;
  console.log(ok ? "ok  " : "FAIL", name, ...info);
}

async function sql(text, params = []) {
  const answer = await fetch(`${server}/v1/sql?format=arrow`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ sql: text, params }),
  });
  if (!answer.ok) throw Object.assign(new Error((await answer.json()).error.message), { status: answer.status });
  return tableFromIPC(answer);
}

async function refused(name, status, words, text) {
  try {
    await sql(text);
    check(name, false, "it was not refused");
  } catch (error) {
    check(name, error.status === status && error.message.includes(words), error.status, error.message);
  }
}

await sql("CREATE TABLE node_rows (id BIGINT, text VARCHAR, price DOUBLE, PRIMARY KEY (id))");
const rows = tableFromArrays({ id: BigInt64Array.from([1n, 2n, 3n]), text: ["ä €", "two", "three"], price: Float64Array.from([0.5, 1.5, 2.5]) });
const put = await fetch(`${server}/v1/tables/main.node_rows`, {
  method: "POST", headers: { "Content-Type": "application/vnd.apache.arrow.stream" }, body: tableToIPC(rows, "stream"),
});
const written = await put.json();
check("rows as an Arrow stream", put.ok && written.rows === 3 && written.lsn > 0, written);

const back = await sql("SELECT * FROM node_rows WHERE id < ? ORDER BY id", [3]);
check("a query with a parameter", back.numRows === 2 && back.get(0).text === "ä €" && back.get(1).price === 1.5, back.toString());
const types = await sql("SELECT true AS b, 1::TINYINT AS i8, 2::SMALLINT AS i16, 3::INTEGER AS i32, 4::BIGINT AS i64, 5::UBIGINT AS u64, " +
  "1.5::FLOAT AS f, 0.1::DOUBLE AS d, 'x' AS t, '\\x00\\xFF'::BLOB AS r, DATE '2026-11-30' AS day, TIMESTAMP '2026-11-30 01:02:03' AS at, " +
  "12.5::DECIMAL(18, 6) AS amount, [1, NULL, 3] AS list, {'a': 1} AS s, MAP {'k': 1} AS m, NULL::INTEGER AS nothing");
const row = types.get(0);
check("numbers", row.b === true && row.i8 === 1 && row.i16 === 2 && row.i32 === 3 && row.i64 === 4n && row.u64 === 5n && row.f === 1.5 && row.d === 0.1);
check("text, bytes, NULL", row.t === "x" && row.r.length === 2 && row.r[1] === 255 && row.nothing === null);
check("times", new Date(Number(row.day)).toISOString().startsWith("2026-11-30") && new Date(Number(row.at)).toISOString() === "2026-11-30T01:02:03.000Z");
check("nested", row.list.toJSON().join() === [1, null, 3].join() && row.s.a === 1 && String(row.m).includes("k"));
check("many rows", (await sql("SELECT range AS n FROM range(300000)")).numRows === 300000);
await refused("a wrong name", 400, "text", "SELECT txet FROM node_rows");
await refused("what a client may not", 403, "COPY", "COPY node_rows TO '/tmp/x'");

const stop = new AbortController();
setTimeout(() => stop.abort(), 500);
const start = Date.now();
try {
  await fetch(`${server}/v1/sql?format=arrow`, { method: "POST", body: "SELECT count(*) FROM range(100000000000) a, range(1000) b", signal: stop.signal });
  check("a request that is given up", false);
} catch (error) {
  check("a request that is given up", error.name === "AbortError" && Date.now() - start < 20000);
}
process.exit(failed ? 1 : 0);
