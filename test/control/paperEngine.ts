import type {
  Engine,
  Inspection,
  Protection,
  SecretSlots,
  Sight,
  SocketPhase,
} from '../../ts/engine/engine.ts';

/** An engine that keeps its sockets in memory and notes what is asked of it. */
export class PaperEngine implements Engine {
  readonly name = 'stock';
  readonly inspectsFirstSegment = false;
  readonly changes = undefined;
  readonly prompt = undefined;
  secrets: SecretSlots | undefined;
  readonly records = undefined;
  readonly calls: string[] = [];
  readonly notes = new Map<number, Uint8Array>();
  current: SocketPhase = 'fresh';
  failing: { call: string; error: Error } | undefined;
  heldBack: string | undefined;
  inspection: Inspection = { pass: true };

  #note(call: string, detail = ''): void {
    this.calls.push(detail === '' ? call : `${call} ${detail}`);
    if (this.failing?.call === call) throw this.failing.error;
  }
  look(fd: number): Sight {
    return { phase: this.current, marked: this.current !== 'fresh', noted: this.notes.has(fd) };
  }
  phase(): SocketPhase {
    return this.current;
  }
  defer(): void {
    this.#note('defer');
    this.current = 'deferred';
  }
  arm(_fd: number, peer: { port: number }, secret: Uint8Array, payload?: Uint8Array) {
    const shown = Buffer.from(secret).toString().replace(/\0+$/, '');
    this.#note('arm', `${peer.port} ${shown} ${payload === undefined ? '-' : Buffer.from(payload)}`);
    this.current = 'armed';
    return { isn: 1, tsval: 1 };
  }
  follow(): void {}
  settle(): string | undefined {
    this.#note('settle');
    return this.heldBack;
  }
  release(): void {
    if (this.current !== 'fresh') this.#note('release');
    this.current = 'fresh';
  }
  guard(_fd: number, { protectedLength }: Protection, previous?: Protection): void {
    this.#note(
      'guard',
      previous === undefined ? `${protectedLength}` : `${protectedLength} after ${previous.protectedLength}`,
    );
    this.current = 'guarded';
  }
  inspectAccepted(): Inspection {
    return this.inspection;
  }
  readNote(fd: number): Uint8Array | undefined {
    return this.notes.get(fd)?.slice();
  }
  writeNote(fd: number, note: Uint8Array): void {
    this.#note('note');
    this.notes.set(fd, Uint8Array.from(note));
  }
  dropNote(fd: number): void {
    this.notes.delete(fd);
  }
  close(): void {}
}
