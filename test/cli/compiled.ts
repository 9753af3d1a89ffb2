import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A temporary directory for programs that a test compiles or writes. */
export interface Workshop {
  readonly directory: string;
  path(name: string): string;
  /** Compiles C with gcc; returns the program's path. */
  compile(name: string, source: string, flags?: readonly string[]): string;
  /** Writes an executable file. */
  script(name: string, text: string, mode?: number): string;
  close(): void;
}

export function openWorkshop(): Workshop {
  const directory = mkdtempSync(join(tmpdir(), 'knockify-test-'));
  const path = (name: string) => join(directory, name);
  return {
    directory,
    path,
    compile(name, source, flags = []) {
      execFileSync('gcc', ['-x', 'c', '-', '-o', path(name), ...flags], { input: source });
      return path(name);
    },
    script(name, text, mode = 0o755) {
      writeFileSync(path(name), text, { mode });
      return path(name);
    },
    close() {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export const EMPTY_MAIN = 'int main(void) { return 0; }';

/** The note that Go's linker leaves in every program it makes: name "Go", type 4. */
export const GO_NOTE = `
  __attribute__((section(".note.go.buildid"), used, aligned(4)))
  static const struct { unsigned int name, size, type; char owner[4], id[4]; } note = { 4, 4, 4, "Go\\0", "abc" };
  ${EMPTY_MAIN}`;

/** What newer versions put there for 'go version'. */
export const GO_BUILD_INFORMATION = `
  __attribute__((section(".go.buildinfo"), used)) static char information[16] = "\\xff Go buildinf:";
  ${EMPTY_MAIN}`;
