#include "base/clock.h"
#include <stdio.h>
#include <time.h>

#define US_PER_S INT64_C(1000000)
#define S_PER_DAY INT64_C(86400)

void clock_init(void)
{
    tzset();
}

uint64_t clock_mono_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

int64_t clock_wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Seconds that local time is ahead of UTC at `s`. localtime_r takes the lock of the C library's time zone, so each
 * thread asks once per minute: offsets change at full minutes only. */
static int64_t offset_at(int64_t s)
{
    static _Thread_local struct {
        bool valid;
        int64_t minute, offset;
    } cache;
    int64_t minute = floor_div(s, 60);
    if (!cache.valid || cache.minute != minute) {
        struct tm local;
        time_t at = (time_t)s;
        cache.offset = localtime_r(&at, &local) ? local.tm_gmtoff : 0;
        cache.minute = minute;
        cache.valid = true;
    }
    return cache.offset;
}

/* Days since 1970-01-01 of a date in the Gregorian calendar, and back. Years start in March here, which puts the leap
 * day at their end; an era is 400 years. */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void date_of(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = floor_div(days, 146097);
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    *day = (unsigned)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *month = (unsigned)(month_from_march + (month_from_march < 10 ? 3 : -9));
    *year = year_of_era + era * 400 + (*month <= 2);
}

static char *put_digits(char *to, uint64_t value, unsigned width)
{
    for (unsigned i = width; i > 0; i--, value /= 10)
        to[i - 1] = (char)('0' + value % 10);
    return to + width;
}

static struct str format(int64_t us, bool with_z, char out[CLOCK_TEXT_MAX])
{
    int64_t s = floor_div(us, US_PER_S), fraction = us % US_PER_S;
    fraction += fraction < 0 ? US_PER_S : 0;
    int64_t days = floor_div(s, S_PER_DAY), of_day = s - days * S_PER_DAY, year;
    unsigned month, day;
    date_of(days, &year, &month, &day);
    char *to = out;
    if (year < 0)
        *to++ = '-';
    uint64_t size = (uint64_t)(year < 0 ? -year : year);
    to = put_digits(to, size, size > 9999 ? 6 : 4);
    *to++ = '-';
    to = put_digits(to, month, 2);
    *to++ = '-';
    to = put_digits(to, day, 2);
    *to++ = 'T';
    to = put_digits(to, (uint64_t)of_day / 3600, 2);
    *to++ = ':';
    to = put_digits(to, (uint64_t)of_day / 60 % 60, 2);
    *to++ = ':';
    to = put_digits(to, (uint64_t)of_day % 60, 2);
    *to++ = '.';
    to = put_digits(to, (uint64_t)fraction, 6);
    if (with_z)
        *to++ = 'Z';
    *to = '\0';
    return str_make(out, (size_t)(to - out));
}

int64_t clock_local_us(int64_t us)
{
    int64_t local;
    return __builtin_add_overflow(us, offset_at(floor_div(us, US_PER_S)) * US_PER_S, &local) ? us : local;
}

struct str clock_format_naive(int64_t local_us, char out[CLOCK_TEXT_MAX])
{
    return format(local_us, false, out);
}

struct str clock_format_local(int64_t us, char out[CLOCK_TEXT_MAX])
{
    return clock_format_naive(clock_local_us(us), out);
}

struct str clock_format_utc(int64_t us, char out[CLOCK_TEXT_MAX])
{
    return format(us, true, out);
}

/* Takes exactly `width` digits. */
static bool take_number(struct str *s, unsigned width, unsigned max, unsigned *out)
{
    unsigned value = 0;
    if (s->n < width)
        return false;
    for (unsigned i = 0; i < width; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return false;
        value = value * 10 + (unsigned)(s->p[i] - '0');
    }
    *s = str_sub(*s, width, s->n);
    *out = value;
    return value <= max;
}

static bool take_char(struct str *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = str_sub(*s, 1, s->n);
    return true;
}

static bool take_date(struct str *s, int64_t *days)
{
    static const uint8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day;
    if (!take_number(s, 4, 9999, &year) || !take_char(s, '-') || !take_number(s, 2, 12, &month) ||
        !take_char(s, '-') || !take_number(s, 2, 31, &day))
        return false;
    if (year == 0 || month == 0 || day == 0)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > month_days[month - 1] + (month == 2 && leap ? 1u : 0u))
        return false;
    *days = days_of(year, month, day);
    return true;
}

/* Digits past the sixth are dropped. */
static bool take_fraction(struct str *s, int64_t *us)
{
    int64_t unit = US_PER_S / 10;
    size_t count = 0;
    while (s->n > 0 && s->p[0] >= '0' && s->p[0] <= '9') {
        *us += (s->p[0] - '0') * unit;
        unit /= 10;
        count++;
        *s = str_sub(*s, 1, s->n);
    }
    return count > 0;
}

static bool take_zone(struct str *s, int64_t *offset)
{
    if (take_char(s, 'Z') || take_char(s, 'z')) {
        *offset = 0;
        return true;
    }
    bool west = take_char(s, '-');
    if (!west && !take_char(s, '+'))
        return false;
    unsigned hours, minutes = 0;
    if (!take_number(s, 2, 23, &hours))
        return false;
    if ((take_char(s, ':') || s->n > 0) && !take_number(s, 2, 59, &minutes))
        return false;
    *offset = (west ? -1 : 1) * ((int64_t)hours * 3600 + (int64_t)minutes * 60);
    return true;
}

/* The moment at which clocks here show `local` (seconds as if it were UTC). When clocks go back a time exists twice:
 * the first is meant; when they go forward it does not exist: the offset before the change holds. Both as Python's
 * datetime does. */
static int64_t from_local(int64_t local)
{
    int64_t before = offset_at(local - S_PER_DAY), after = offset_at(local + S_PER_DAY);
    int64_t at = local - before;
    if (before == after || at + offset_at(at) == local)
        return at;
    int64_t at_after = local - after;
    return at_after + offset_at(at_after) == local ? at_after : at;
}

bool clock_parse(struct str text, int64_t *us)
{
    int64_t days, fraction = 0, offset = 0;
    unsigned hour = 0, minute = 0, second = 0;
    bool zoned = false;
    if (!take_date(&text, &days))
        return false;
    if (text.n > 0) {
        if (!take_char(&text, 'T') && !take_char(&text, ' ') && !take_char(&text, 't'))
            return false;
        if (!take_number(&text, 2, 23, &hour) || !take_char(&text, ':') ||
            !take_number(&text, 2, 59, &minute))
            return false;
        if (take_char(&text, ':')) {
            if (!take_number(&text, 2, 59, &second))
                return false;
            if (take_char(&text, '.') && !take_fraction(&text, &fraction))
                return false;
        }
        if (text.n > 0) {
            zoned = true;
            if (!take_zone(&text, &offset) || text.n > 0)
                return false;
        }
    }
    int64_t s = days * S_PER_DAY + hour * 3600 + minute * 60 + second;
    s = zoned ? s - offset : from_local(s);
    *us = s * US_PER_S + fraction;
    return true;
}
