import type { CallSpec } from '../spec/calls.ts';
import { argumentList, banner, failing, hookParameterList, parameterList, returning } from './c.ts';

const includes = `#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
`;

/** originals.h: a pointer a call to what the program would have reached without us, and the hooks' prototypes. */
export function buildOriginalsHeader(calls: readonly CallSpec[]): string {
  const pointers = calls.map(
    (call) => `extern ${returning(call, `(*_Atomic original_${call.name})`)}(${parameterList(call)});`,
  );
  const hooks = calls.map((call) => `${returning(call, `hook_${call.name}`)}(${hookParameterList(call)});`);
  return `${banner('ts/spec/calls.ts')}
#ifndef KNOCKIFY_ORIGINALS_H
#define KNOCKIFY_ORIGINALS_H

${includes}
${pointers.join('\n')}

// Resolves all originals, so that no later call, in a signal handler for instance, has to.
void originals_resolve(void);

${hooks.join('\n')}

#endif
`;
}

function resolver(call: CallSpec): string {
  const word = call.variadic
    ? '    va_list list;\n    va_start(list, ' +
      call.parameters.at(-1)?.name +
      ');\n    long word = va_arg(list, long);\n    va_end(list);\n'
    : '';
  const call_ = `original_${call.name}(${argumentList(call)})`;
  return `static ${returning(call, `resolve_${call.name}`)}(${parameterList(call)})
{
${word}    if (!find_${call.name}()) {
        errno = ENOSYS;
        ${failing(call)}
    }
    ${call.returns === 'void' ? call_ : `return ${call_}`};
}`;
}

/**
 * originals.c: each pointer starts at a stub that looks the original up and calls it, so that a call from another
 * library's constructor works before ours ran, and the usual path has no test in it.
 */
export function buildOriginalsSource(calls: readonly CallSpec[]): string {
  const prototypes = calls.map(
    (call) => `static ${returning(call, `resolve_${call.name}`)}(${parameterList(call)});
${returning(call, `(*_Atomic original_${call.name})`)}(${parameterList(call)}) = resolve_${call.name};
static int find_${call.name}(void)
{
    void *found = dlsym(RTLD_NEXT, "${call.name}");
    if (found)
        original_${call.name} = (${returning(call, '(*)')}(${parameterList(call)}))found;
    return found != NULL;
}
`,
  );
  return `${banner('ts/spec/calls.ts')}
#include "originals.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

${prototypes.join('\n')}
${calls.map(resolver).join('\n\n')}

void originals_resolve(void)
{
${calls.map((call) => `    find_${call.name}();`).join('\n')}
}
`;
}
