/* cells: how many columns of a terminal a character takes, by Unicode's own tables and without a locale. */
#pragma once
#include "base/str.h"

unsigned cells_of(uint32_t code_point); /* 0 for marks that sit on the character before, 2 for wide ones */
size_t cells_count(struct str text);    /* of valid UTF-8 without control characters */
