import { ConfigError } from './error.ts';

/** How many named secrets can be held at a time, those that are on their way out included. */
export const MOST_SECRETS = 64;

const LONGEST_NAME = 64;
const SUFFIX = '.secret';
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;
export const NAME_RULE = `letters, digits, . _ and -, at most ${LONGEST_NAME} of them, the first one neither . nor -, and no .secret in it`;

/** Whether this is a name that a secret may have. */
export function isName(text: string): boolean {
  return NAME.test(text) && text.length <= LONGEST_NAME && !text.includes(SUFFIX);
}

/** What the name of a file in the folder says. */
export type Entry =
  | {
      readonly kind: 'secret';
      readonly name: string;
      /** Of one that was replaced: until when it still counts, in ms since the epoch. */
      readonly until: number | undefined;
    }
  | { readonly kind: 'bad'; readonly why: string };

const UNTIL = '.until-';
const TIME = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

/** Undefined for a file that is none of ours. */
export function parseEntry(file: string): Entry | undefined {
  // Files that are being written, and those that editors and package managers leave.
  if (file.startsWith('.')) return undefined;
  const cut = file.lastIndexOf(`${SUFFIX}${UNTIL}`);
  if (cut < 0 && !file.endsWith(SUFFIX)) return undefined;
  const name = file.slice(0, cut < 0 ? -SUFFIX.length : cut);
  if (!isName(name)) return { kind: 'bad', why: `it does not begin with a name: ${NAME_RULE}` };
  if (cut < 0) return { kind: 'secret', name, until: undefined };
  const until = parseTime(file.slice(cut + SUFFIX.length + UNTIL.length));
  if (until === undefined) return { kind: 'bad', why: `it does not end with a time as ${timeText(0)}` };
  return { kind: 'secret', name, until };
}

/** Name of the file of a secret; with a time, of one that was replaced and counts until then (in ms since the epoch, whole seconds). */
export function fileOf(name: string, until?: number): string {
  return `${name}${SUFFIX}${until === undefined ? '' : `${UNTIL}${timeText(until)}`}`;
}

/** `20261122T082000Z`. */
function timeText(time: number): string {
  return new Date(time).toISOString().replace(/[-:]|\.\d+/g, '');
}

function parseTime(text: string): number | undefined {
  const [, year, month, day, hour, minute, second] = TIME.exec(text) ?? [];
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  // Date.parse takes the 30th of February for the 2nd of March.
  return !Number.isNaN(time) && timeText(time) === text ? time : undefined;
}

const UNITS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;
const LONGEST_DURATION = 365 * UNITS.d;

/** Milliseconds in `90s`, `30m`, `24h`, `7d` or `0`. Throws ConfigError. */
export function parseDuration(text: string): number {
  const [, digits = '', unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const seconds =
    text === '0' ? 0 : Number(digits || Number.NaN) * UNITS[(unit ?? 's') as keyof typeof UNITS];
  if (Number.isNaN(seconds) || seconds > LONGEST_DURATION)
    throw new ConfigError(
      `${text}: must be 0 or a number with s, m, h or d behind it, as in 24h; at most 365d`,
    );
  return seconds * 1000;
}
