import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { artefact } from '../../ts/sys/artefacts.ts';

/** What would wait for ever in a signal handler that interrupts the same function. fopencookie is called by fdopen alone, which may not be called there either. */
const UNSAFE =
  /^(malloc|calloc|realloc|free|v?asprintf|strdup|setenv|f(open|close|printf|puts|write)|printf|pthread_(mutex|rwlock|spin|cond)_.*|sem_.*|mtx_.*|getaddrinfo|opendir)$/;

it('the library calls nothing that allocates or takes a lock', () => {
  const imported = execFileSync('nm', ['-D', '--undefined-only', '-j', artefact('libknockify.so')], {
    encoding: 'utf8',
  })
    .split('\n')
    .map((symbol) => symbol.replace(/@.*/, ''));
  expect(imported.length).toBeGreaterThan(30);
  expect(imported.filter((symbol) => UNSAFE.test(symbol))).toEqual([]);
});
