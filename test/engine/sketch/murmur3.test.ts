import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import t from "tap";
import { hashBytes, hashText, hashWord, murmur3x64 } from "../../../engine/sketch/murmur3.js";
import { createKeyedHash, sipHash24 } from "../../../engine/sketch/siphash.js";
import { needsShared, sharedPath } from "../../support/env.js";
import { fromHex, toHex, VECTORS, vectorRows } from "./support.js";

const utf8 = new TextEncoder();
const signed = (hash: bigint): bigint => BigInt.asIntN(64, hash);

function littleEndian(value: bigint, sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => Number(BigInt.asUintN(8, value >> BigInt(8 * i))));
}

/** Both hot forms as one unsigned integer. */
function hot(write: (out: Uint32Array, offset: number) => void): bigint {
  const out = new Uint32Array(4).fill(0xdeadbeef);
  write(out, 1);
  if (out[0] !== 0xdeadbeef || out[3] !== 0xdeadbeef) throw new Error("written beside the place asked for");
  return (BigInt(out[2]!) << 32n) | BigInt(out[1]!);
}

/** MurmurHash3 x64-128 in 64-bit integers, straight from its definition: both halves. */
function slowMurmur(bytes: Uint8Array, seed: number): [bigint, bigint] {
  const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);
  const turn = (x: bigint, by: bigint): bigint => u64((x << by) | (x >> (64n - by)));
  const mix = (x: bigint): bigint => {
    x = u64((x ^ (x >> 33n)) * 0xff51afd7ed558ccdn);
    x = u64((x ^ (x >> 33n)) * 0xc4ceb9fe1a85ec53n);
    return x ^ (x >> 33n);
  };
  const [c1, c2] = [0x87c37b91114253d5n, 0x4cf5ad432745937fn];
  let [h1, h2] = [BigInt(seed), BigInt(seed)];
  for (let at = 0; at < bytes.length; at += 16) {
    const word = (from: number): bigint =>
      bytes.subarray(from, from + 8).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    const k1 = u64(turn(u64(word(at) * c1), 31n) * c2);
    const k2 = u64(turn(u64(word(at + 8) * c2), 33n) * c1);
    h1 ^= k1;
    if (at + 16 <= bytes.length) h1 = u64(u64(turn(h1, 27n) + h2) * 5n + 0x52dce729n);
    h2 ^= k2;
    if (at + 16 <= bytes.length) h2 = u64(u64(turn(h2, 31n) + h1) * 5n + 0x38495ab5n);
  }
  h1 ^= BigInt(bytes.length);
  h2 ^= BigInt(bytes.length);
  h1 = u64(h1 + h2);
  h2 = u64(h2 + h1);
  const [f1, f2] = [mix(h1), mix(h2)];
  return [u64(f1 + f2), u64(f1 + 2n * f2)];
}

t.test("the values that PostgreSQL's hll gives are ours", (t) => {
  const texts: Array<[string, bigint]> = [
    ["", 0n],
    ["a", -8839064797231613815n],
    ["alice", 5699955792253506986n],
    ["hello world", 5998619086395760910n],
    ["0123456789abcdef", 5467490433528156583n],
    ["0123456789abcdefg", -8200385122730116642n],
  ];
  for (const [text, hash] of texts) {
    t.equal(signed(murmur3x64(text)), hash, text);
    t.equal(signed(hot((out, o) => hashText(text, out, o))), hash, `${text} (hot)`);
  }
  const words: Array<[bigint, number, bigint]> = [
    [0n, 8, 2945182322382062539n],
    [1n, 8, 19144387141682250n],
    [2n, 8, -2447670524089286488n],
    [-1n, 8, -6853156495446839949n],
    [42n, 8, -5283633198602748424n],
    [1n, 4, -8604791237420463362n],
    [1n, 2, 1967286128051477038n],
    [1n, 1, 8849112093580131862n],
  ];
  for (const [value, size, hash] of words) {
    t.equal(signed(murmur3x64(littleEndian(value, size))), hash, `${value} in ${size} bytes`);
  }
  const half = (value: bigint): [number, number] => [Number(value & 0xffffffffn), Number(value >> 32n)];
  t.equal(signed(hot((out, o) => hashWord(...half(0xffffffffffffffffn), out, o))), -6853156495446839949n);
  t.equal(signed(murmur3x64(littleEndian(1n, 8), 42)), -3171019155122926524n);
  t.equal(signed(murmur3x64(fromHex("00010203"))), -2178171369485783280n);
  t.end();
});

t.test("the published hashes are ours", needsShared(VECTORS), (t) => {
  let rows = 0;
  for (const [seed, input, hash] of vectorRows("murmur_bigint")) {
    rows += signed(murmur3x64(littleEndian(BigInt(input!), 8), Number(seed))) === BigInt(hash!) ? 1 : 0;
  }
  t.equal(rows, 600);
  for (const [seed, input, hash] of vectorRows("murmur_bytea")) {
    rows += signed(murmur3x64(fromHex(input!), Number(seed))) === BigInt(hash!) ? 1 : 0;
  }
  t.equal(rows, 1200);
  t.end();
});

t.test(
  "smhasher's verification value comes out, with our half inside",
  needsShared("vectors/murmur3"),
  (t) => {
    const { smhasherVerification } = JSON.parse(
      readFileSync(sharedPath("vectors/murmur3/vectors.json"), "utf8"),
    ) as { smhasherVerification: Record<string, string> };
    const results = new Uint8Array(16 * 256);
    for (let i = 0; i < 256; i++) {
      const key = Uint8Array.from({ length: i }, (_, k) => k);
      const [h1, h2] = slowMurmur(key, 256 - i);
      if (murmur3x64(key, 256 - i) !== h1) t.fail(`length ${i}`);
      results.set(littleEndian(h1, 8), 16 * i);
      results.set(littleEndian(h2, 8), 16 * i + 8);
    }
    const value = BigInt.asUintN(32, murmur3x64(results));
    t.equal(`0x${value.toString(16).toUpperCase()}`, smhasherVerification["MurmurHash3_x64_128"]);
    t.end();
  },
);

t.test("any bytes at any place, seed and length hash as the definition says", (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(20), fc.nat(0xffffffff), (bytes, before, seed) => {
      const framed = new Uint8Array(bytes.length + before + 5).fill(0xa5);
      framed.set(bytes, before);
      const end = before + bytes.length;
      return (
        murmur3x64(bytes, seed) === slowMurmur(bytes, seed)[0] &&
        hot((out, o) => hashBytes(framed, before, end, out, o)) === slowMurmur(bytes, 0)[0]
      );
    }),
    { numRuns: 300 },
  );
  t.pass("300 inputs");
  t.end();
});

t.test("text is hashed as TextEncoder spells it, whatever it is and however long", (t) => {
  const agrees = (text: string): boolean =>
    hot((out, o) => hashText(text, out, o)) === murmur3x64(utf8.encode(text));
  for (const text of [
    "\0",
    "\x7f",
    "\x80",
    "é",
    "\ud800",
    "\udc00\ud800",
    "a\udfff",
    "👩‍🚀",
    "\uffff",
    "\u2028",
  ]) {
    t.ok(
      agrees(text),
      `code units ${text
        .split("")
        .map((unit) => unit.charCodeAt(0))
        .join(" ")}`,
    );
  }
  for (const length of [84, 85, 86, 255, 256, 257, 1000, 70_000]) {
    t.ok(agrees("x".repeat(length)) && agrees("日".repeat(length)) && agrees("xy"), `${length} units`);
  }
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 600 }), agrees), { numRuns: 300 });
  fc.assert(fc.property(fc.array(fc.nat(0xffff)), (units) => agrees(String.fromCharCode(...units))));
  t.end();
});

t.test("naughty strings hash as TextEncoder spells them", needsShared("vectors/naughty-strings"), (t) => {
  const strings = JSON.parse(
    readFileSync(sharedPath("vectors/naughty-strings/blns.json"), "utf8"),
  ) as string[];
  const wrong = strings.filter((text) => murmur3x64(text) !== slowMurmur(utf8.encode(text), 0)[0]);
  t.ok(strings.length > 400);
  t.same(wrong, []);
  t.end();
});

/** `vectors_sip64` of the reference implementation: key 00…0f, input 00…(n − 1), output bytes in order. */
const SIPHASH_OUTPUTS =
  "310e0edd47db6f72 fd67dc93c539f874 5a4fa9d909806c0d 2d7efbd796666785 b7877127e09427cf 8da699cd64557618 " +
  "cee3fe586e46c9cb 37d1018bf50002ab 6224939a79f5f593 b0e4a90bdf82009e f3b9dd94c5bb5d7a a7ad6b22462fb3f4 " +
  "fbe50e86bc8f1e75 903d84c02756ea14 eef27a8e90ca23f7 e545be4961ca29a1 db9bc2577fcc2a3f 9447be2cf5e99a69 " +
  "9cd38d96f0b3c14b bd6179a71dc96dbb 98eea21af25cd6be c7673b2eb0cbf2d0 883ea3e395675393 c8ce5ccd8c030ca8 " +
  "94af49f6c650adb8 eab8858ade92e1bc f315bb5bb835d817 adcf6b0763612e2f a5c91da7acaa4dde 716595876650a2a6 " +
  "28ef495c53a387ad 42c341d8fa92d832 ce7cf2722f512771 e37859f94623f3a7 381205bb1ab0e012 ae97a10fd434e015 " +
  "b4a31508beff4d31 81396229f0907902 4d0cf49ee5d4dcca 5c73336a76d8bf9a d0a704536ba93e0e 925958fcd6420cad " +
  "a915c29bc8067318 952b79f3bc0aa6d4 f21df2e41d4535f9 87577519048f53a9 10a56cf5dfcd9adb eb75095ccd986cd0 " +
  "51a9cb9ecba312e6 96afadfc2ce666c7 72fe52975a4364ee 5a1645b276d592a1 b274cb8ebf87870a 6f9bb4203de7b381 " +
  "eaecb2a30b22a87f 9924a43cc1315724 bd838d3aafbf8db7 0b1a2a3265d51aea 135079a3231ce660 932b2846e4d70666 " +
  "e1915f5cb1eca46c f325965ca16d629f 575ff28e60381be5 724506eb4c328a95";

const KEY = Uint8Array.from({ length: 16 }, (_, i) => i);

t.test("SipHash-2-4 gives the reference outputs", (t) => {
  const outputs = SIPHASH_OUTPUTS.split(" ");
  t.equal(outputs.length, 64);
  for (const [length, output] of outputs.entries()) {
    const hash = sipHash24(
      KEY,
      KEY.length < length ? Uint8Array.from({ length }, (_, i) => i) : KEY.subarray(0, length),
    );
    t.equal(toHex(littleEndian(hash, 8)), output, `${length} bytes`);
  }
  t.equal(sipHash24(KEY, KEY.subarray(0, 15)), 0xa129ca6149be45e5n, "the example of the paper");
  t.end();
});

t.test("the keyed hash is MurmurHash3 over SipHash, and another key is another hash", (t) => {
  const keyed = createKeyedHash(KEY);
  const other = createKeyedHash(new Uint8Array(16).fill(7));
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 80 }), (text) => {
      const expected = murmur3x64(littleEndian(sipHash24(KEY, utf8.encode(text)), 8));
      return (
        hot((out, o) => keyed(text, out, o)) === expected && hot((out, o) => other(text, out, o)) !== expected
      );
    }),
  );
  const changing = KEY.slice();
  const copied = createKeyedHash(changing);
  changing.fill(1);
  t.equal(
    hot((out, o) => copied("viewer", out, o)),
    hot((out, o) => keyed("viewer", out, o)),
    "the key is copied",
  );
  t.throws(() => createKeyedHash(new Uint8Array(15)), { code: "invalid-config" });
  t.end();
});
