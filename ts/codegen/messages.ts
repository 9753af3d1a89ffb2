import { type Layout, layouts, MAX_MESSAGE_SIZE } from '../spec/codec.ts';
import {
  actions,
  DEFAULT_SOCKET,
  DEFAULT_TIMEOUT,
  HEADER_SIZE,
  LONGEST_TIMEOUT,
  MAX_PROTECTED_LENGTH,
  MIDSTATE_SIZE,
  PROTOCOL_VERSION,
  SOCKADDR_SIZE,
  settingVariables,
} from '../spec/messages.ts';
import { banner } from './c.ts';

const cTypes = { u8: 'uint8_t', u16: 'uint16_t', u32: 'uint32_t', i32: 'int32_t' } as const;

function struct({ spec, fields, fixedSize }: Layout): string {
  const name = `message_${spec.name}`;
  const members = spec.fields.map((field) => {
    if (field.type === 'bytes') return `    uint8_t ${field.name}[${field.size}]; // ${field.doc}`;
    if (field.type === 'blob')
      return `    uint32_t ${field.name}_length; // ${field.doc}; at most ${field.max}, behind the struct`;
    return `    ${cTypes[field.type]} ${field.name}; // ${field.doc}`;
  });
  const asserts = fields.map(({ field, offset }) => {
    const member = field.type === 'blob' ? `${field.name}_length` : field.name;
    return `_Static_assert(offsetof(struct ${name}, ${member}) == ${offset}, "${spec.name}.${member}");`;
  });
  const carried = spec.descriptors.length > 0 ? ` Descriptors: ${spec.descriptors.join(', ')}.` : '';
  return `// ${spec.doc}.${carried}
struct ${name} {
    struct message_header header;
${members.join('\n')}
};
_Static_assert(sizeof(struct ${name}) == ${fixedSize}, "${spec.name}");
${asserts.join('\n')}
`;
}

/** messages.h: the control protocol as C structs, laid out and asserted as the TypeScript codec has it. */
export function buildMessagesHeader(): string {
  const all = [...layouts.values()];
  const blobs = all.flatMap(({ spec }) =>
    spec.fields.flatMap((field) =>
      field.type === 'blob'
        ? [`    MAX_${spec.name.toUpperCase()}_${field.name.toUpperCase()} = ${field.max},`]
        : [],
    ),
  );
  return `${banner('ts/spec/messages.ts')}
#ifndef KNOCKIFY_MESSAGES_H
#define KNOCKIFY_MESSAGES_H

#include <stddef.h>
#include <stdint.h>

enum {
    PROTOCOL_VERSION = ${PROTOCOL_VERSION},
    MAX_MESSAGE_SIZE = ${MAX_MESSAGE_SIZE},
    MAX_PROTECTED_LENGTH = ${MAX_PROTECTED_LENGTH},
    DEFAULT_TIMEOUT = ${DEFAULT_TIMEOUT}, // seconds
    LONGEST_TIMEOUT = ${LONGEST_TIMEOUT},
    MIDSTATE_SIZE = ${MIDSTATE_SIZE},
    PEER_SIZE = ${SOCKADDR_SIZE},
${blobs.join('\n')}
};

#define DEFAULT_SOCKET "${DEFAULT_SOCKET}"

// The environment variables that go with every request.
#define SETTING_VARIABLES { ${settingVariables.map((name) => `"${name}"`).join(', ')} }

enum message_id {
${all.map(({ spec }) => `    MESSAGE_${spec.name.toUpperCase()} = ${spec.id},`).join('\n')}
};

enum action {
${actions.map(({ name, id, doc }) => `    ACTION_${name.toUpperCase()} = ${id}, // ${doc}`).join('\n')}
};

struct message_header {
    uint16_t version; // PROTOCOL_VERSION
    uint16_t id; // enum message_id
    uint32_t size; // of the whole datagram, bytes
};
_Static_assert(sizeof(struct message_header) == ${HEADER_SIZE}, "header");

${all.map(struct).join('\n')}
#endif
`;
}
