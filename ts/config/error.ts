/** A setting can't be used. The message names the key, where it came from, the value (never a secret's) and the rule. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Reports what is wrong with a value. Whoever parses says why in words that hold no part of the value. */
export type Refuse = (why: string) => never;

/** Longest piece of a value that a message shows, in characters. */
const SHOWN = 80;

/** A value for a message: one line, printable ASCII, not endless. Never call it with a secret. */
export function shown(value: Uint8Array): string {
  const text = Buffer.from(value)
    .toString('latin1')
    .replace(/[^ -~]|\\/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text;
}
