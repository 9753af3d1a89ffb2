/**
 * Bytes of a numeric IP address in network byte order: 4 for IPv4, 16 for IPv6. An IPv4-mapped IPv6 address
 * keeps its 16 bytes here (`unmapped` makes 4 of them). Undefined for anything else: host names, zone
 * indices (`%eth0`), shortened or octal IPv4.
 */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** The 4 bytes of an IPv4-mapped IPv6 address (::ffff:0:0/96); every other address as it is. */
export function unmapped(address: Uint8Array): Uint8Array {
  return isMapped(address) ? Uint8Array.from(address.subarray(12)) : address;
}

/** Whether this is an IPv6 address in ::ffff:0:0/96. */
export function isMapped(address: Uint8Array): boolean {
  return address.length === 16 && address.every((byte, i) => i >= 12 || byte === (i < 10 ? 0 : 0xff));
}

/** 0.0.0.0 or ::. */
export function isUnspecified(address: Uint8Array): boolean {
  return address.every((byte) => byte === 0);
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  // Leading zeros are refused: some programs read them as octal.
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)) {
    return undefined;
  }
  return Uint8Array.from(parts, Number);
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  const tail = parseGroups(halves[1] ?? '', halves.length === 2);
  if (head === undefined || tail === undefined) return undefined;
  const given = head.length + tail.length;
  // RFC 4291 section 2.2: "::" stands for one or more groups.
  if (halves.length === 2 ? given > 14 : given !== 16) return undefined;
  const bytes = new Uint8Array(16);
  bytes.set(head);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

/** Bytes of the groups of one side of "::"; only the last of an address may be dotted decimal. */
function parseGroups(text: string, endsAddress: boolean): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const groups = text.split(':');
  for (const [i, group] of groups.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const word = Number.parseInt(group, 16);
      bytes.push(word >> 8, word & 0xff);
      continue;
    }
    const dotted = endsAddress && i === groups.length - 1 ? parseIpv4(group) : undefined;
    if (dotted === undefined) return undefined;
    bytes.push(...dotted);
  }
  return bytes;
}
