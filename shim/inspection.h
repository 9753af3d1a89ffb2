// Integrity mode on the server's side: whether the first bytes of an accepted connection are those that its token is over.
#ifndef KNOCKIFY_INSPECTION_H
#define KNOCKIFY_INSPECTION_H

#include "control.h"
#include "descriptors.h"

#include <stdbool.h>

// Takes over what a verdict says about the connections of a listener.
void inspection_expect(struct descriptor *entry, const struct verdict *verdict);

// True where the connection passes and that is plain to see from here: one segment has come, it holds all protected bytes,
// and they hash to the lower half of the saved SYN's sequence number (draft section 3.2). False decides nothing: the control
// process sees more. Consumes no data, never blocks, keeps errno.
bool inspection_plain(int fd, const struct inspection *inspection);

#endif
