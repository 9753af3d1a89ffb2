import { type FSWatcher, lstatSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { type FolderContents, type Refused, readFolder, wipe } from './secretFolder.ts';
import type { SecretSet } from './secretSet.ts';

/** How long to wait for the rest of a change that was noticed. Milliseconds. */
const PAUSE = 20;
/** Looked at least this often: notifications can get lost, clocks can be set, machines can sleep. Milliseconds. */
const AT_LEAST = 60_000;
/** After a look that failed. Milliseconds. */
const AGAIN = 1_000;

export interface WatchOptions {
  /** Who has to own the files, if it is not root. */
  readonly user: number;
  /** The folder need not be there. */
  readonly mayBeMissing: boolean;
  /** Told of what changed, and of what is refused. */
  readonly say: (text: string) => void;
  readonly complain: (text: string) => void;
}

/** Keeps a set like its folder: looks whenever something in that changes, and when a secret's time is over. */
export class SecretWatch {
  readonly #set: SecretSet;
  readonly #options: WatchOptions;
  #watcher: { readonly handle: FSWatcher; readonly place: string } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #unwatched = false;
  #closed = false;

  constructor(set: SecretSet, options: WatchOptions) {
    this.#set = set;
    this.#options = options;
  }

  /** Looks now. Never throws: what goes wrong is told, and tried again. */
  look(): void {
    if (this.#closed) return;
    // First: what changes while it is read is noticed.
    this.#follow();
    const now = Date.now();
    try {
      this.#update(now);
      const ends = this.#set.held.flatMap(({ until }) => (until === undefined ? [] : [until - now]));
      // A timer may be early by a millisecond.
      this.#lookIn(Math.max(1, Math.min(AT_LEAST, ...ends) + 1));
    } catch (error) {
      this.#options.complain(`${this.#set.folder}: ${error instanceof Error ? error.message : error}`);
      this.#lookIn(AGAIN);
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#watcher?.handle.close();
    this.#watcher = undefined;
  }

  #update(now: number): void {
    const { user, mayBeMissing, say, complain } = this.#options;
    const contents: FolderContents = readFolder(this.#set.folder, { user, now, mayBeMissing });
    try {
      const { said, refused } = this.#set.update(contents, now);
      for (const text of said) say(text);
      for (const one of refused) complain(refusalText(one));
    } finally {
      wipe(contents.found);
    }
  }

  #lookIn(delay: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), delay).unref();
  }

  /** Watches the folder, or as long as there is none, where it would appear. */
  #follow(): void {
    const path = nearest(this.#set.folder);
    const place = path === undefined ? '' : placeOf(path);
    if (this.#watcher?.place === place) return;
    this.#watcher?.handle.close();
    this.#watcher = undefined;
    if (path === undefined) return;
    try {
      const handle = watch(path, { persistent: false }, () => this.#lookIn(PAUSE));
      handle.on('error', (error) => this.#loseWatch(error));
      this.#watcher = { handle, place };
      this.#unwatched = false;
    } catch (error) {
      this.#loseWatch(error);
    }
  }

  #loseWatch(error: unknown): void {
    this.#watcher?.handle.close();
    this.#watcher = undefined;
    if (this.#unwatched) return;
    this.#unwatched = true;
    const why = error instanceof Error ? error.message : error;
    this.#options.complain(
      `${this.#set.folder}: changes are noticed within a minute only, or on SIGHUP: ${why}`,
    );
  }
}

/** `/etc/knockify/secrets.d/alice.secret is not accepted: the secret is empty`. */
export function refusalText({ path, why }: Refused): string {
  return `${path} is not accepted: ${why}`;
}

function nearest(path: string): string | undefined {
  for (let place = path; ; place = dirname(place)) {
    if (placeOf(place) !== '') return place;
    if (place === dirname(place)) return undefined;
  }
}

/** Tells a folder from another one of the same name. Empty where there is none, or none to be seen. */
function placeOf(path: string): string {
  try {
    const { dev, ino, birthtimeMs } = lstatSync(path);
    return [path, dev, ino, birthtimeMs].join('\0');
  } catch {
    return '';
  }
}
