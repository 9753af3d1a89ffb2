// A server that only clients with the secret can see: server ADDRESS PORT SECRET [LENGTH]
// With LENGTH, the first LENGTH bytes of each connection are checked against the client's token before accept()
// returns it. Answers each connection's first words with the same words, and hangs up.
#include "knock.h"

#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: %s ADDRESS PORT SECRET [LENGTH]\n", argv[0]);
        return 2;
    }
    struct addrinfo *where = numeric_address(argv[1], argv[2]);
    int listener = stealth_socket(where, argv[3]), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (argc == 5) {
        int length = atoi(argv[4]);
        if (setsockopt(listener, IPPROTO_TCP, TCP_STEALTH_INTEGRITY_LEN, &length, sizeof(length)) < 0) {
            perror("TCP_STEALTH_INTEGRITY_LEN");
            return 1;
        }
    }
    if (bind(listener, where->ai_addr, where->ai_addrlen) < 0 || listen(listener, 16) < 0) {
        perror("listen");
        return 1;
    }
    for (;;) {
        char words[512];
        int client = accept(listener, NULL, NULL);
        if (client < 0) {
            perror("accept");
            continue;
        }
        ssize_t length = read(client, words, sizeof(words));
        if (length > 0 && write(client, words, (size_t)length) != length)
            perror("write");
        close(client);
    }
}
