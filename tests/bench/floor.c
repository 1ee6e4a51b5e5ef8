/* The least that a durable push can cost: start, open a file, append 4 KiB, sync, exit. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char page[4096];
    int file;
    if (argc != 2)
        return 2;
    memset(page, 'x', sizeof page);
    file = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || write(file, page, sizeof page) != (ssize_t)sizeof page || fdatasync(file) != 0)
        return 1;
    return 0;
}
