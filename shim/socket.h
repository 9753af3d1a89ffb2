// Questions to the kernel about a descriptor, and the way back from a stealth attempt that broke off.
// None of them changes errno.
#ifndef KNOCKIFY_SOCKET_H
#define KNOCKIFY_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

// True for a stream socket that speaks TCP on the wire, MPTCP included: the control process refuses that one.
bool socket_is_tcp(int fd);

// SO_COOKIE, unique among all sockets since boot; 0 for what is no socket.
uint64_t socket_cookie(int fd);

// An int socket option; `otherwise` where the kernel does not answer.
int socket_option(int fd, int level, int option, int otherwise);

bool socket_nonblocking(int fd);

// The kernel's TCP states that matter here (include/net/tcp_states.h).
enum tcp_state { STATE_UNKNOWN = 0, STATE_ESTABLISHED = 1, STATE_SYN_SENT = 2, STATE_CLOSE = 7, STATE_LISTEN = 10 };

// tcpi_state of a TCP socket.
enum tcp_state socket_state(int fd);

// The same for a descriptor of any kind: STATE_UNKNOWN for all others.
enum tcp_state socket_tcp_state(int fd);

// The socket is connecting or connected, and this machine has held back nothing of what it sent.
bool socket_sent_freely(int fd);

// As a listener's listen(2) had it.
uint32_t socket_backlog(int fd);

// Takes a socket back to where it was before the control process began, as far as that needs no privilege. One that
// was left in repair mode would swallow data silently: a fresh one takes its place.
void socket_abandon(int fd);

#endif
