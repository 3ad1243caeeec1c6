/**
 * Arithmetic on dates of the proleptic Gregorian calendar, without a zone. A *day number* counts days since
 * 1970-01-01 and is negative before it. After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
 * (days_from_civil, civil_from_days): years begin in March inside, so that the leap day comes last.
 */
export interface CivilDate {
  readonly year: number;
  /** 1–12 */
  readonly month: number;
  /** 1–31 */
  readonly day: number;
}

const DAYS_PER_ERA = 146_097;
/** Days from 0000-03-01 to 1970-01-01. */
const EPOCH_SHIFT = 719_468;

export function daysFromCivil(year: number, month: number, day: number): number {
  const marchYear = month <= 2 ? year - 1 : year;
  const era = Math.floor(marchYear / 400);
  const yearOfEra = marchYear - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const leapDays = Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  return era * DAYS_PER_ERA + yearOfEra * 365 + leapDays + dayOfYear - EPOCH_SHIFT;
}

export function civilFromDays(dayNumber: number): CivilDate {
  const { marchYear, dayOfMarchYear } = marchDate(dayNumber);
  const monthIndex = Math.floor((5 * dayOfMarchYear + 2) / 153);
  const month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9;
  const day = dayOfMarchYear - Math.floor((153 * monthIndex + 2) / 5) + 1;
  return { year: month <= 2 ? marchYear + 1 : marchYear, month, day };
}

function marchDate(dayNumber: number): { marchYear: number; dayOfMarchYear: number } {
  const shifted = dayNumber + EPOCH_SHIFT;
  const era = Math.floor(shifted / DAYS_PER_ERA);
  const dayOfEra = shifted - era * DAYS_PER_ERA;
  const leapDays =
    Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const yearStart = 365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  return { marchYear: yearOfEra + era * 400, dayOfMarchYear: dayOfEra - yearStart };
}

/** Day number of the first day of the month that holds `dayNumber`. */
export function monthStartDay(dayNumber: number): number {
  return dayNumber - civilFromDays(dayNumber).day + 1;
}

/** Day number of the first day of the month after it: 31 days after a month's first day lie in the next one. */
export function nextMonthStartDay(dayNumber: number): number {
  return monthStartDay(monthStartDay(dayNumber) + 31);
}

export function yearStartDay(dayNumber: number): number {
  return daysFromCivil(civilFromDays(dayNumber).year, 1, 1);
}

export function nextYearStartDay(dayNumber: number): number {
  return daysFromCivil(civilFromDays(dayNumber).year + 1, 1, 1);
}

/** Day number of the first day of the week that holds `dayNumber`; `weekStart` is an ISO weekday, 1–7. */
export function weekStartDay(dayNumber: number, weekStart: number): number {
  if (!(weekStart >= 1 && weekStart <= 7)) throw new Error(`BUG: weekStart ${weekStart} is no ISO weekday`);
  return dayNumber - modulo(isoWeekday(dayNumber) - weekStart, 7);
}

/** 1 (Monday) – 7 (Sunday), ISO 8601. */
export function isoWeekday(dayNumber: number): number {
  return modulo(dayNumber + 3, 7) + 1;
}

/** The ISO 8601 week that holds `dayNumber`: the year is that of the week's Thursday. */
export function isoWeek(dayNumber: number): { year: number; week: number } {
  const thursday = weekStartDay(dayNumber, 1) + 3;
  const { year } = civilFromDays(thursday);
  return { year, week: Math.floor((thursday - daysFromCivil(year, 1, 1)) / 7) + 1 };
}

export function daysInMonth(year: number, month: number): number {
  if (month === 2) return isLeapYear(year) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

export function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

export function isRealDate(year: number, month: number, day: number): boolean {
  const whole = Number.isInteger(year) && Number.isInteger(month) && Number.isInteger(day);
  return whole && month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month);
}

export function addDays(date: CivilDate, days: number): CivilDate {
  return civilFromDays(daysFromCivil(date.year, date.month, date.day) + days);
}

/** A day that the month has not becomes its last: 31 January plus a month is 28 (or 29) February. */
export function addMonths(date: CivilDate, months: number): CivilDate {
  const monthIndex = date.year * 12 + date.month - 1 + months;
  const year = Math.floor(monthIndex / 12);
  const month = modulo(monthIndex, 12) + 1;
  return { year, month, day: Math.min(date.day, daysInMonth(year, month)) };
}

/** 29 February becomes 28 February where the year has none. */
export function addYears(date: CivilDate, years: number): CivilDate {
  return addMonths(date, years * 12);
}

/** Negative before, zero at, positive after. */
export function compareDates(a: CivilDate, b: CivilDate): number {
  return a.year - b.year || a.month - b.month || a.day - b.day;
}

function modulo(value: number, divisor: number): number {
  return value - Math.floor(value / divisor) * divisor;
}
