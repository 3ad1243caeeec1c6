/**
 * Where the character that begins at `at` with a byte of 0x80 or more ends, or −1 where the bytes are not UTF-8: no
 * overlong forms, no surrogates, nothing above U+10FFFF (Unicode, table 3-7; the same as a fatal `TextDecoder`).
 */
export function characterEnd(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  if (lead < 0xc2 || lead > 0xf4) return -1;
  const size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (at + size > bytes.length) return -1;
  const second = bytes[at + 1]!;
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < least || second > most) return -1;
  for (let i = at + 2; i < at + size; i++) if ((bytes[i]! & 0xc0) !== 0x80) return -1;
  return at + size;
}
