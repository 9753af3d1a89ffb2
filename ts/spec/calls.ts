/**
 * Every C library call that libknockify.so overrides. The wrappers, the resolver of the originals, the version
 * script and the table in the documentation are generated from this list.
 */

export interface Parameter {
  readonly type: string;
  readonly name: string;
}

export interface CallSpec {
  readonly name: string;
  readonly returns: 'int' | 'ssize_t' | 'void' | 'FILE *';
  readonly parameters: readonly Parameter[];
  /** Whether the thesis names it (table 6), or correctness on real programs needs it. */
  readonly origin: 'thesis' | 'further';
  /**
   * When the C function `hook_<name>` runs instead of the original: always; when the descriptor in the parameter
   * `fd` is tracked; or when this process has a connect that is delayed, or a listener that may lack its guard.
   */
  readonly when: 'always' | 'tracked' | 'unsettled';
  /** Other symbols of the C library for the same call. */
  readonly aliases?: readonly string[];
  /** The hook of another call with the same signature but for trailing parameters, which it drops. */
  readonly hook?: string;
  /** True for `f(int fd, int command, ...)` with one optional word. */
  readonly variadic?: boolean;
  /** The same call with `...` where this one has a va_list, its last parameter. */
  readonly ellipsis?: string;
  readonly before: string;
  readonly after: string;
  readonly untracked: string;
}

/** All names that the C library has for a call. */
export function symbolsOf({ name, aliases = [], ellipsis }: CallSpec): string[] {
  return [name, ...aliases, ...(ellipsis === undefined ? [] : [ellipsis])];
}

const fd = { type: 'int', name: 'fd' } as const;
const straight = 'straight to the original';
const flags = { type: 'int', name: 'flags' } as const;
const buffer = [
  { type: 'void *', name: 'data' },
  { type: 'size_t', name: 'length' },
] as const;
const constBuffer = [
  { type: 'const void *', name: 'data' },
  { type: 'size_t', name: 'length' },
] as const;
const vector = [
  { type: 'const struct iovec *', name: 'parts' },
  { type: 'int', name: 'count' },
] as const;
const addressIn = [
  { type: 'const struct sockaddr *', name: 'address' },
  { type: 'socklen_t', name: 'address_length' },
] as const;
const addressOut = [
  { type: 'struct sockaddr *', name: 'address' },
  { type: 'socklen_t *', name: 'address_length' },
] as const;
const checked = { type: 'size_t', name: 'object_size' } as const;
const polled = [
  { type: 'struct pollfd *', name: 'entries' },
  { type: 'nfds_t', name: 'count' },
] as const;
const sets = [
  { type: 'int', name: 'count' },
  { type: 'fd_set *', name: 'readable' },
  { type: 'fd_set *', name: 'writable' },
  { type: 'fd_set *', name: 'exceptional' },
] as const;
const epoll = [
  { type: 'int', name: 'epoll_fd' },
  { type: 'struct epoll_event *', name: 'events' },
  { type: 'int', name: 'max_events' },
] as const;
const timespec = { type: 'const struct timespec *', name: 'timeout' } as const;
const mask = { type: 'const sigset_t *', name: 'mask' } as const;

const gathers = {
  when: 'tracked',
  before: 'gathers the protected bytes; with the last of them, connects and sends all in one segment',
  after: 'forgets the descriptor once the bytes are with the kernel',
  untracked: straight,
} as const;
const prints = {
  ...gathers,
  before: 'on a delayed connect: formats the text and writes it as write does',
  after: 'nothing',
} as const;
const format = [
  { type: 'const char *', name: 'format' },
  { type: 'va_list', name: 'arguments' },
] as const;
const withoutBytes = {
  before:
    'on a delayed connect: fails with EPROTONOSUPPORT, for the token must cover bytes that the library can see',
  after: 'nothing',
  untracked: straight,
} as const;
const hints = {
  when: 'tracked',
  before:
    'waits until another thread has written the protected bytes; after two seconds, explains on stderr why nothing arrives',
  after: 'nothing',
  untracked: straight,
} as const;
const rights = {
  when: 'always',
  after: 'descriptors that came along (SCM_RIGHTS) are looked at when they are used',
  untracked: straight,
} as const;
const waits = {
  when: 'unsettled',
  before:
    'has a listener guarded that came with the program; waits two seconds, then explains on stderr which connect still waits for how many bytes',
  after: 'nothing: the kernel reports a delayed connect as writable and not readable by itself',
  untracked: 'straight to the original where nothing of this process is delayed or unguarded',
} as const;
const copies = {
  when: 'always',
  before: 'nothing',
  after: 'the new descriptor takes over what is known of the old one',
  untracked: 'the original, then forgets what the new number stood for',
} as const;

export const calls: readonly CallSpec[] = [
  {
    name: 'socket',
    returns: 'int',
    parameters: [
      { type: 'int', name: 'domain' },
      { type: 'int', name: 'type' },
      { type: 'int', name: 'protocol' },
    ],
    origin: 'thesis',
    when: 'always',
    before: 'nothing',
    after:
      'forgets what the number stood for; a TCP socket is looked at when it is used, for a copy of it may have been connected by then',
    untracked: straight,
  },
  {
    name: 'connect',
    returns: 'int',
    parameters: [fd, ...addressIn],
    origin: 'thesis',
    when: 'always',
    aliases: ['__connect'],
    before: 'TCP over IPv4 or IPv6: asks the control process, which arms the socket or fakes the connect',
    after: 'reports how the real connect ended; tracks a faked one',
    untracked: 'not TCP: straight to the original',
  },
  {
    name: 'listen',
    returns: 'int',
    parameters: [fd, { type: 'int', name: 'backlog' }],
    origin: 'thesis',
    when: 'always',
    before: 'TCP: asks the control process, which guards the socket',
    after: 'reports how it ended; tracks the guarded listener',
    untracked: 'not TCP: straight to the original',
  },
  {
    name: 'send',
    returns: 'ssize_t',
    parameters: [fd, ...constBuffer, flags],
    origin: 'thesis',
    aliases: ['__send'],
    ...gathers,
  },
  {
    name: 'write',
    returns: 'ssize_t',
    parameters: [fd, ...constBuffer],
    origin: 'thesis',
    aliases: ['__write'],
    ...gathers,
  },
  {
    name: 'sendto',
    returns: 'ssize_t',
    parameters: [fd, ...constBuffer, flags, ...addressIn],
    origin: 'thesis',
    ...gathers,
    when: 'always',
    before: `${gathers.before}; with MSG_FASTOPEN, connects first as connect does`,
  },
  {
    name: 'getsockopt',
    returns: 'int',
    parameters: [
      fd,
      { type: 'int', name: 'level' },
      { type: 'int', name: 'option' },
      { type: 'void *', name: 'value' },
      { type: 'socklen_t *', name: 'length' },
    ],
    origin: 'thesis',
    when: 'tracked',
    before: 'nothing',
    after:
      'shows the application its own SO_REUSEPORT and fast open options, not those set for stealth; SO_ERROR is the true one',
    untracked: straight,
  },
  {
    name: 'close',
    returns: 'int',
    parameters: [fd],
    origin: 'thesis',
    when: 'tracked',
    aliases: ['__close'],
    before: 'forgets the descriptor; says on stderr if gathered bytes are lost with it',
    after: 'nothing',
    untracked: straight,
  },
  {
    name: 'epoll_wait',
    returns: 'int',
    parameters: [...epoll, { type: 'int', name: 'timeout' }],
    origin: 'thesis',
    ...waits,
  },
  {
    name: 'select',
    returns: 'int',
    parameters: [...sets, { type: 'struct timeval *', name: 'timeout' }],
    origin: 'thesis',
    aliases: ['__select'],
    ...waits,
  },
  {
    name: 'accept',
    returns: 'int',
    parameters: [fd, ...addressOut],
    origin: 'further',
    when: 'always',
    before:
      'has a listener guarded that listened before the program had it; fails with EPROTONOSUPPORT if that is impossible',
    after:
      'guarded with integrity: has the connection inspected, and resets it and takes the next one if it fails; EINTR where a program that was told of that connection would block',
    untracked: 'the original, then forgets what the new number stood for',
  },
  {
    name: 'accept4',
    returns: 'int',
    parameters: [fd, ...addressOut, flags],
    origin: 'further',
    when: 'always',
    before: 'as accept',
    after: 'as accept',
    untracked: 'as accept',
  },
  {
    name: 'sendmsg',
    returns: 'ssize_t',
    parameters: [fd, { type: 'const struct msghdr *', name: 'message' }, flags],
    origin: 'further',
    ...gathers,
    when: 'always',
    before: `${gathers.before}; with MSG_FASTOPEN, connects first as connect does`,
  },
  {
    name: 'sendmmsg',
    returns: 'int',
    parameters: [
      fd,
      { type: 'struct mmsghdr *', name: 'batch' },
      { type: 'unsigned int', name: 'count' },
      flags,
    ],
    origin: 'further',
    ...gathers,
    when: 'always',
    before: 'tracked or with MSG_FASTOPEN: one sendmsg after another',
  },
  { name: 'writev', returns: 'ssize_t', parameters: [fd, ...vector], origin: 'further', ...gathers },
  {
    name: 'pwritev2',
    returns: 'ssize_t',
    parameters: [fd, ...vector, { type: 'off_t', name: 'offset' }, flags],
    origin: 'further',
    aliases: ['pwritev64v2'],
    ...gathers,
    before: `at offset -1, the end: ${gathers.before}`,
  },
  {
    name: 'vdprintf',
    returns: 'int',
    parameters: [fd, ...format],
    ellipsis: 'dprintf',
    origin: 'further',
    ...prints,
  },
  {
    name: '__vdprintf_chk',
    returns: 'int',
    parameters: [fd, { type: 'int', name: 'flag' }, ...format],
    ellipsis: '__dprintf_chk',
    origin: 'further',
    ...prints,
  },
  {
    name: 'fdopen',
    returns: 'FILE *',
    parameters: [fd, { type: 'const char *', name: 'mode' }],
    aliases: ['_IO_fdopen'],
    origin: 'further',
    when: 'tracked',
    before:
      'on a delayed connect, and on a socket that is not connected: makes a stream that calls write and read',
    after: 'nothing',
    untracked: straight,
  },
  {
    name: 'freopen',
    returns: 'FILE *',
    parameters: [
      { type: 'const char *', name: 'path' },
      { type: 'const char *', name: 'mode' },
      { type: 'FILE *', name: 'stream' },
    ],
    aliases: ['freopen64'],
    origin: 'further',
    when: 'always',
    before: 'nothing',
    after: "where stderr goes, the library's lines go",
    untracked: straight,
  },
  {
    name: 'sendfile',
    returns: 'ssize_t',
    parameters: [
      fd,
      { type: 'int', name: 'source' },
      { type: 'off_t *', name: 'offset' },
      { type: 'size_t', name: 'length' },
    ],
    origin: 'further',
    aliases: ['sendfile64'],
    ...withoutBytes,
    when: 'tracked',
  },
  {
    name: 'splice',
    returns: 'ssize_t',
    parameters: [
      { type: 'int', name: 'source' },
      { type: 'off_t *', name: 'source_offset' },
      { type: 'int', name: 'target' },
      { type: 'off_t *', name: 'target_offset' },
      { type: 'size_t', name: 'length' },
      { type: 'unsigned int', name: 'flags' },
    ],
    origin: 'further',
    ...withoutBytes,
    when: 'always',
  },
  {
    name: 'read',
    returns: 'ssize_t',
    parameters: [fd, ...buffer],
    origin: 'further',
    aliases: ['__read'],
    ...hints,
  },
  { name: 'readv', returns: 'ssize_t', parameters: [fd, ...vector], origin: 'further', ...hints },
  { name: 'recv', returns: 'ssize_t', parameters: [fd, ...buffer, flags], origin: 'further', ...hints },
  {
    name: 'recvfrom',
    returns: 'ssize_t',
    parameters: [fd, ...buffer, flags, ...addressOut],
    origin: 'further',
    ...hints,
  },
  {
    name: 'recvmsg',
    returns: 'ssize_t',
    parameters: [fd, { type: 'struct msghdr *', name: 'message' }, flags],
    origin: 'further',
    ...hints,
    ...rights,
  },
  {
    name: 'recvmmsg',
    returns: 'int',
    parameters: [
      fd,
      { type: 'struct mmsghdr *', name: 'batch' },
      { type: 'unsigned int', name: 'count' },
      flags,
      { type: 'struct timespec *', name: 'timeout' },
    ],
    origin: 'further',
    ...hints,
    ...rights,
  },
  {
    name: '__read_chk',
    returns: 'ssize_t',
    parameters: [fd, ...buffer, checked],
    origin: 'further',
    ...hints,
  },
  {
    name: '__recv_chk',
    returns: 'ssize_t',
    parameters: [fd, ...buffer, checked, flags],
    origin: 'further',
    ...hints,
  },
  {
    name: '__recvfrom_chk',
    returns: 'ssize_t',
    parameters: [fd, ...buffer, checked, flags, ...addressOut],
    origin: 'further',
    ...hints,
  },
  {
    name: 'poll',
    returns: 'int',
    parameters: [...polled, { type: 'int', name: 'timeout' }],
    origin: 'further',
    aliases: ['__poll'],
    ...waits,
  },
  { name: 'ppoll', returns: 'int', parameters: [...polled, timespec, mask], origin: 'further', ...waits },
  {
    name: '__poll_chk',
    returns: 'int',
    parameters: [...polled, { type: 'int', name: 'timeout' }, checked],
    origin: 'further',
    ...waits,
  },
  {
    name: '__ppoll_chk',
    returns: 'int',
    parameters: [...polled, timespec, mask, checked],
    origin: 'further',
    ...waits,
  },
  { name: 'pselect', returns: 'int', parameters: [...sets, timespec, mask], origin: 'further', ...waits },
  {
    name: 'epoll_pwait',
    returns: 'int',
    parameters: [...epoll, { type: 'int', name: 'timeout' }, mask],
    origin: 'further',
    ...waits,
  },
  {
    name: 'epoll_pwait2',
    returns: 'int',
    parameters: [...epoll, timespec, mask],
    origin: 'further',
    ...waits,
  },
  {
    name: 'epoll_ctl',
    returns: 'int',
    parameters: [
      { type: 'int', name: 'epoll_fd' },
      { type: 'int', name: 'operation' },
      fd,
      { type: 'struct epoll_event *', name: 'event' },
    ],
    origin: 'further',
    ...waits,
    before: 'has a listener guarded that came with the program',
    after: 'nothing',
  },
  { name: 'dup', returns: 'int', parameters: [fd], origin: 'further', ...copies },
  {
    name: 'dup2',
    returns: 'int',
    aliases: ['__dup2'],
    parameters: [fd, { type: 'int', name: 'target' }],
    origin: 'further',
    ...copies,
  },
  {
    name: 'dup3',
    returns: 'int',
    parameters: [fd, { type: 'int', name: 'target' }, flags],
    origin: 'further',
    ...copies,
  },
  {
    name: 'fcntl',
    returns: 'int',
    parameters: [fd, { type: 'int', name: 'command' }],
    variadic: true,
    aliases: ['fcntl64', '__fcntl'],
    origin: 'further',
    ...copies,
    before: 'F_DUPFD and F_DUPFD_CLOEXEC only',
  },
  {
    name: 'close_range',
    returns: 'int',
    parameters: [
      { type: 'unsigned int', name: 'first' },
      { type: 'unsigned int', name: 'last' },
      { type: 'int', name: 'flags' },
    ],
    origin: 'further',
    when: 'always',
    before: 'as close, for every tracked descriptor of the range',
    after: 'nothing',
    untracked: straight,
  },
  {
    name: 'closefrom',
    returns: 'void',
    parameters: [{ type: 'int', name: 'first' }],
    origin: 'further',
    when: 'always',
    before: 'as close_range',
    after: 'nothing',
    untracked: straight,
  },
  {
    name: 'getpeername',
    returns: 'int',
    parameters: [fd, ...addressOut],
    origin: 'further',
    when: 'tracked',
    before: 'on a delayed connect: the address that the application connected to',
    after: 'nothing',
    untracked: straight,
  },
  {
    name: 'shutdown',
    returns: 'int',
    parameters: [fd, { type: 'int', name: 'how' }],
    origin: 'further',
    when: 'tracked',
    before:
      'on a delayed connect with gathered bytes: fails with EPROTONOSUPPORT, for they can no longer be sent',
    after: 'nothing',
    untracked: straight,
  },
  {
    name: 'setsockopt',
    returns: 'int',
    parameters: [
      fd,
      { type: 'int', name: 'level' },
      { type: 'int', name: 'option' },
      { type: 'const void *', name: 'value' },
      { type: 'socklen_t', name: 'length' },
    ],
    origin: 'further',
    when: 'always',
    before:
      'TCP_STEALTH, TCP_STEALTH_INTEGRITY and TCP_STEALTH_INTEGRITY_LEN: does what the kernel patch did. On a guarded listener: keeps SO_REUSEPORT on, refuses another reuseport program; either would lift the guard',
    after: 'nothing',
    untracked: straight,
  },
];
