import { ConfigError } from './error.ts';
import { KEY_LIST, type KeySpec, keyNamed, namesOf, SECTION } from './keys.ts';

/** One setting of an rc file. */
export interface RcEntry {
  readonly key: string;
  /** A view into the text that was parsed, not a copy. */
  readonly value: Uint8Array;
  /** `path:line`, lines counted from 1. */
  readonly origin: string;
}

/** What stands below a line with targets in brackets. */
export interface RcSection {
  /** What is between the brackets; a view. */
  readonly header: Uint8Array;
  /** `path:line` of the brackets. */
  readonly origin: string;
  readonly entries: RcEntry[];
}

export interface Rc {
  /** What stands above the first section. */
  readonly entries: readonly RcEntry[];
  readonly sections: readonly RcSection[];
}

const [LF, CR, SPACE, TAB, HASH, EQUALS] = [0x0a, 0x0d, 0x20, 0x09, 0x23, 0x3d];
const [OPEN, CLOSE] = [0x5b, 0x5d];

/**
 * Parses `KEY=VALUE` lines, and the sections that they stand in. The value is everything after the first `=` as it is: no quotes, no comments
 * behind it. Blanks around the key, and around a value that is not a secret, don't count; a secret with a
 * blank at either end is refused, since nobody could tell whether it was meant. Throws ConfigError; a line
 * that is not understood is never quoted, because it may be a piece of a secret.
 */
export function parseRc(path: string, text: Uint8Array): Rc {
  const top: RcEntry[] = [];
  const sections: RcSection[] = [];
  for (const [i, line] of splitLines(text).entries()) {
    const origin = `${path}:${i + 1}`;
    const header = parseHeader(line, origin);
    if (header !== undefined) sections.push({ header, origin, entries: [] });
    const entry = header === undefined ? parseLine(line, origin) : undefined;
    if (entry !== undefined) addTo(sections.at(-1), top, entry);
  }
  return { entries: top, sections };
}

function addTo(section: RcSection | undefined, top: RcEntry[], entry: RcEntry): void {
  const entries = section?.entries ?? top;
  if (section !== undefined && keyNamed(entry.key)?.inSections !== true) {
    const allowed = KEY_LIST.filter(({ inSections }) => inSections).flatMap(namesOf);
    throw new ConfigError(
      `${entry.key} (${entry.origin}): it can't be set for some targets only (the section at ${section.origin}); put it above the first section. In sections: ${allowed.join(', ')}`,
    );
  }
  const earlier = entries.find(({ key }) => key === entry.key);
  if (earlier !== undefined)
    throw new ConfigError(`${entry.key} (${entry.origin}): it is already set at ${earlier.origin}; keep one`);
  entries.push(entry);
}

/** What is between the brackets of a section's first line; undefined for any other line. */
function parseHeader(line: Uint8Array, origin: string): Uint8Array | undefined {
  const whole = trimmed(line);
  if (whole[0] !== OPEN) return undefined;
  if (whole.at(-1) === CLOSE && whole.length > 1) return trimmed(whole.subarray(1, -1));
  throw new ConfigError(
    `${origin}: the line begins with [ but does not end with ]; must be ${SECTION.rule} (for an IPv6 address and a port: [[2001:db8::1]:22])`,
  );
}

function parseLine(line: Uint8Array, origin: string): RcEntry | undefined {
  const start = trimmed(line);
  if (start.length === 0 || start[0] === HASH) return undefined;
  const equals = line.indexOf(EQUALS);
  if (equals < 0)
    throw new ConfigError(`${origin}: the line is not KEY=VALUE, [TARGETS], a comment (#) or blank`);
  const key = Buffer.from(trimmed(line.subarray(0, equals))).toString('latin1');
  const spec = keyNamed(key);
  if (spec === undefined) throw unknownKey(key, origin);
  return { key, value: literalValue(spec, key, line.subarray(equals + 1), origin), origin };
}

function literalValue(spec: KeySpec<unknown>, key: string, literal: Uint8Array, origin: string): Uint8Array {
  const value = trimmed(literal);
  if (spec.confidential && value.length !== literal.length) {
    throw new ConfigError(
      `${key} (${origin}): a blank follows the = or ends the line; remove it, or write the secret as h: and hex digits`,
    );
  }
  return value;
}

function unknownKey(key: string, origin: string): ConfigError {
  const known = KEY_LIST.flatMap(namesOf).join(', ');
  // Only what looks like a name is shown: "abc0123=" may be a secret in base64 that lost its key.
  const name =
    /^(KNOCK_\w{1,40}|[A-Z]+(_[A-Z]+)*|[a-z]+(_[a-z]+)*)$/i.test(key) && key.length <= 48 ? key : undefined;
  const what = name === undefined ? 'what stands before the = is no known key' : `unknown key ${name}`;
  return new ConfigError(`${origin}: ${what}; the known ones are ${known}`);
}

function splitLines(text: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start < text.length; ) {
    const feed = text.indexOf(LF, start);
    const end = feed < 0 ? text.length : feed;
    const line = text.subarray(start, end);
    lines.push(line.at(-1) === CR ? line.subarray(0, -1) : line);
    start = end + 1;
  }
  return lines;
}

function trimmed(bytes: Uint8Array): Uint8Array {
  const isBlank = (byte: number) => byte === SPACE || byte === TAB;
  const start = bytes.findIndex((byte) => !isBlank(byte));
  return start < 0
    ? bytes.subarray(0, 0)
    : bytes.subarray(start, bytes.findLastIndex((byte) => !isBlank(byte)) + 1);
}
