import { release } from '../sys/channel.ts';
import { FileError, type OpenFile, readWhole } from '../sys/files.ts';

/** An rc file or a file with a secret has no business being longer. Bytes. */
const MAX_FILE_SIZE = 65_536;

/** How much of the control process files can hold that take their time. */
export interface ReadingLimits {
  /** Files of one user that are read at a time; others wait until one is done, however long that takes. */
  readonly perUser: number;
  /** How long an application waits for a file. Milliseconds. */
  readonly within: number;
}

/** Most applications wait for five seconds (KNOCK_TIMEOUT): before they give up they are to hear what is wrong. */
export const READING_LIMITS: ReadingLimits = { perUser: 4, within: 3000 };

/** A file that an application opened. */
export interface ApplicationFile {
  readonly fd: number;
  /** For messages. */
  readonly name: string;
  /** Of the application. */
  readonly uid: number;
}

/** Gets the file, or throws FileError. */
export type TakeFile = (file: () => OpenFile) => void;

interface Wanted extends ApplicationFile {
  /** Undefined once that was called, or nobody waits any more. */
  take: TakeFile | undefined;
  readonly timer: NodeJS.Timeout;
}

function wipe(file: OpenFile | FileError): void {
  if (!(file instanceof FileError)) file.bytes.fill(0);
}

/**
 * Reads applications' files. Their file systems may hang, or be the application's own and answer when it likes: each is
 * read in a thread, of which a user has only so many, and waited for only so long.
 */
export class Reading {
  readonly #limits: ReadingLimits;
  readonly #reading = new Map<number, number>();
  readonly #waiting = new Map<number, Wanted[]>();

  constructor(limits = READING_LIMITS) {
    this.#limits = limits;
  }

  /** Takes the descriptor over. Calls `take` later, unless the returned function is called before. */
  read(file: ApplicationFile, take: TakeFile): () => void {
    const { within } = this.#limits;
    const timer = setTimeout(() => {
      const late = new FileError(
        `${file.name} was not read within ${within / 1000} s: does its file system answer? Keep the file on another`,
      );
      this.#tell(wanted, late);
    }, within);
    const wanted: Wanted = { ...file, take, timer };
    this.#waiting.set(file.uid, [...(this.#waiting.get(file.uid) ?? []), wanted]);
    this.#next(file.uid);
    return () => this.#forget(wanted);
  }

  #tell(wanted: Wanted, file: OpenFile | FileError): void {
    const { take } = wanted;
    this.#forget(wanted);
    if (take === undefined) {
      wipe(file);
      return;
    }
    take(() => {
      if (file instanceof FileError) throw file;
      return file;
    });
  }

  /** What is being read goes on being read: nothing ends that. */
  #forget(wanted: Wanted): void {
    clearTimeout(wanted.timer);
    wanted.take = undefined;
    const waiting = this.#waiting.get(wanted.uid) ?? [];
    if (!waiting.includes(wanted)) return;
    this.#keep(
      wanted.uid,
      waiting.filter((other) => other !== wanted),
    );
    release(wanted.fd);
  }

  #keep(uid: number, waiting: Wanted[]): void {
    if (waiting.length > 0) this.#waiting.set(uid, waiting);
    else this.#waiting.delete(uid);
  }

  #next(uid: number): void {
    const reading = this.#reading.get(uid) ?? 0;
    const [wanted, ...others] = this.#waiting.get(uid) ?? [];
    if (wanted === undefined || reading >= this.#limits.perUser) return;
    try {
      readWhole(wanted.fd, MAX_FILE_SIZE, wanted.name, {
        read: (file) => this.#tell(wanted, file),
        over: () => this.#done(uid),
      });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      // It still waits, and so its descriptor is released.
      setImmediate(() => this.#tell(wanted, new FileError(`${wanted.name} can't be read: ${why}`)));
      return;
    }
    this.#keep(uid, others);
    this.#reading.set(uid, reading + 1);
  }

  #done(uid: number): void {
    const reading = (this.#reading.get(uid) ?? 0) - 1;
    if (reading > 0) this.#reading.set(uid, reading);
    else this.#reading.delete(uid);
    this.#next(uid);
  }
}
