import { readStorage, writeStorage } from '../../sys/libbpf.ts';
import { decodeMark, EMPTY_MARK, encodeMark, MARK_BYTES, type Mark } from './layout.ts';

/** What the BPF programs know of sockets. A mark belongs to the socket and goes with it. */
export class Marks {
  /** Descriptor of the socket-storage map. */
  readonly map: number;

  constructor(map: number) {
    this.map = map;
  }

  read(fd: number): Mark {
    const bytes = readStorage(this.map, fd, MARK_BYTES);
    return bytes === undefined ? EMPTY_MARK : decodeMark(bytes);
  }

  /** Replaces the mark as a whole: the programs see the old one or the new one. */
  write(fd: number, mark: Partial<Mark>): void {
    writeStorage(this.map, fd, encodeMark({ ...EMPTY_MARK, ...mark }));
  }
}
