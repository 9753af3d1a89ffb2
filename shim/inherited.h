// Sockets that came with exec.
#ifndef KNOCKIFY_INHERITED_H
#define KNOCKIFY_INHERITED_H

// Tracks what this program inherited and has to be looked after. Changes nothing and asks nobody.
void inherited_adopt(void);

#endif
