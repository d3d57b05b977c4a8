/* format: the marks and numbers of a zip archive, for its writer and its reader. Of src/zip alone. */
#pragma once

#define LOCAL_MARK 0x04034b50
#define DESCRIPTOR_MARK 0x08074b50
#define CENTRAL_MARK 0x02014b50
#define END64_MARK 0x06064b50
#define LOCATOR64_MARK 0x07064b50
#define END_MARK 0x06054b50
#define END64_REST 44 /* bytes of that record that follow its length */
#define END_BYTES 22  /* without the comment */
#define LOCATOR64_BYTES 20
#define LOCAL_BYTES 30 /* without the name and what follows it */
#define U32_FULL ((uint64_t)0xFFFFFFFF)
#define U16_FULL ((uint64_t)0xFFFF)
#define MADE_BY_UNIX (3u << 8)
#define VERSION_PLAIN 20
#define VERSION_64 45
#define FLAG_ENCRYPTED (1u << 0)
#define FLAG_DESCRIPTOR (1u << 3)
#define FLAG_PATCH (1u << 5)
#define FLAG_ENCRYPTED_STRONGLY (1u << 6)
#define FLAG_UTF8 (1u << 11)
#define FLAG_ENCRYPTED_DIRECTORY (1u << 13)
#define METHOD_STORED 0
#define METHOD_DEFLATED 8
#define EXTRA_64 0x0001
#define EXTRA_TIME 0x5455
#define EXTRA_TIME_BYTES 9
#define DOS_DIRECTORY 0x10u
