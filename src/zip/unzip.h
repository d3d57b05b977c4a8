/* unzip: the files of a zip archive that is in memory and may be anybody's. Stored and deflated files, zip64 or not, found by the
 * directory at the archive's end; every offset and length is looked at before it is used, checksums and sizes have to be as the
 * directory says, and files cannot share bytes to become more than the archive could hold. Any thread. */
#pragma once
#include "base/err.h"
#include "base/str.h"

#define UNZIP_FILES_MAX 2500000              /* entries of the directory */
#define UNZIP_BYTES_MAX ((uint64_t)16 << 30) /* of all files, unpacked: here a bomb ends */
#define UNZIP_NAME_MAX 4096                  /* bytes of a name: as long as a path may be */
#define UNZIP_PIECE ((size_t)256 * 1024)     /* bytes of a file at once */

/* `file` gets each file's content in pieces, one after the other (an empty file: one empty piece); false ends it with the
 * error that was set there. What a file is named is for `file` to judge; directories, links and devices are passed over.
 * A checksum comes behind what it is of: after an error nothing that was given counts.
 * ERR_INVALID: it is damaged, encrypted or packed by another method; ERR_TOO_LARGE: one of the limits above. */
bool unzip_files(struct str zip, bool (*file)(void *arg, struct str name, struct str piece, struct err **e),
                 void *arg, struct err **e);
