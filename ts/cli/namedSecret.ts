import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, lstatSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileOf, isName, MOST_SECRETS, NAME_RULE, parseEntry } from '../config/secretNames.ts';
import { makeFolder } from './folder.ts';
import { syncDirectory, writeSecret } from './secretFile.ts';

/** A file of the folder, by its name. */
interface Kept {
  readonly file: string;
  readonly name: string;
  /** Of one that was replaced: until when it counts, in ms since the epoch. */
  readonly until: number | undefined;
}

/** What a rotation came to. */
export interface Rotated {
  readonly print: string;
  /** Until when the old one counts, in ms since the epoch; undefined if it does not. */
  readonly until: number | undefined;
}

/**
 * A folder of named secrets, as an administrator changes it. Every change is whole or has not happened, for whoever looks
 * at any moment: the control process does. Files belong to whom the folder belongs to.
 */
export class SecretFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = resolve(path);
  }

  /** That there is no folder, and what to do; undefined if there is one. */
  get missing(): string | undefined {
    if (existsSync(this.path)) return undefined;
    return `there is no folder ${this.path}; 'knockify secret add NAME' makes it`;
  }

  /** Throws an Error that says what to do. */
  assertThere(): void {
    const { missing } = this;
    if (missing !== undefined) throw new Error(missing);
  }

  fileOf(name: string): string {
    return join(this.path, fileOf(name));
  }

  /** Makes a secret, and the folder if there is none. Returns the fingerprint. Throws an Error that says what to do. */
  add(name: string): string {
    checkName(name);
    this.#make();
    this.#sweep();
    if (existsSync(this.fileOf(name)))
      throw new Error(`there is a secret ${name} already; to replace it: knockify secret rotate ${name}`);
    this.#assertRoom('');
    const draft = this.#draft(name);
    try {
      return writeSecret(draft, {
        owner: statSync(this.path),
        place: () => linkSync(draft, this.fileOf(name)),
      });
    } finally {
      rmSync(draft, { force: true });
    }
  }

  /** Makes a new secret in place of the old one, which counts for `keep` milliseconds more. */
  rotate(name: string, keep: number): Rotated {
    this.#assertFile(name);
    this.#sweep();
    const drop =
      keep === 0 ? this.#files().filter((one) => one.name === name && one.until !== undefined) : [];
    if (keep > 0) this.#assertRoom(', or do without the old one: --keep-old 0');
    const until = keep === 0 ? undefined : this.#vacant(name, Date.now() + keep);
    const draft = this.#draft(name);
    const place = () => {
      if (until !== undefined) linkSync(this.fileOf(name), join(this.path, fileOf(name, until)));
      renameSync(draft, this.fileOf(name));
    };
    const print = writeSecret(draft, { owner: statSync(this.path), place });
    this.#remove(drop);
    return { print, until };
  }

  /** Takes a secret away, with all that it replaced. */
  revoke(name: string): void {
    checkName(name);
    this.assertThere();
    const files = this.#files().filter((one) => one.name === name);
    if (files.length === 0) throw this.#missing(name);
    this.#remove(files);
    this.#sweep();
  }

  #remove(files: readonly Kept[]): void {
    for (const { file } of files) rmSync(join(this.path, file), { force: true });
    if (files.length > 0) syncDirectory(this.path);
  }

  /** Those whose time is over are not accepted any more, and only in the way. */
  #sweep(): void {
    const now = Date.now();
    this.#remove(this.#files().filter(({ until }) => until !== undefined && until <= now));
  }

  #files(): Kept[] {
    return readdirSync(this.path).flatMap((file) => {
      const entry = parseEntry(file);
      return entry?.kind === 'secret' ? [{ file, name: entry.name, until: entry.until }] : [];
    });
  }

  /** Whole seconds, of which no earlier rotation has taken the last. */
  #vacant(name: string, time: number): number {
    let until = Math.ceil(time / 1000) * 1000;
    while (existsSync(join(this.path, fileOf(name, until)))) until += 1000;
    return until;
  }

  #assertRoom(orElse: string): void {
    if (this.#files().length >= MOST_SECRETS)
      throw new Error(
        `${this.path}: ${MOST_SECRETS} secrets are there, which is all there is room for; revoke one first${orElse}`,
      );
  }

  #assertFile(name: string): void {
    checkName(name);
    this.assertThere();
    const stat = lstatSync(this.fileOf(name), { throwIfNoEntry: false });
    if (stat === undefined) throw this.#missing(name);
    if (!stat.isFile()) throw new Error(`${this.fileOf(name)} is not a regular file; remove it`);
  }

  #missing(name: string): Error {
    return new Error(
      `there is no secret ${name} in ${this.path}; 'knockify secret list' shows those that are`,
    );
  }

  #draft(name: string): string {
    return join(this.path, `.${fileOf(name)}.${randomBytes(6).toString('hex')}`);
  }

  #make(): void {
    makeFolder(this.path, 0o700);
  }
}

function checkName(name: string): void {
  if (!isName(name)) throw new Error(`${JSON.stringify(name)} is no name for a secret; must be ${NAME_RULE}`);
}
