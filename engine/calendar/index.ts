export {
  CALENDAR_END_MS,
  CALENDAR_START_MS,
  DAY_MS,
  GRAINS,
  HOUR_MS,
  ISO_WEEK_START,
  QUARTER_MS,
  isGrain,
  type Grain,
} from "./grain.js";
export {
  addDays,
  addMonths,
  addYears,
  civilFromDays,
  compareDates,
  daysFromCivil,
  daysInMonth,
  isoWeek,
  isoWeekday,
  type CivilDate,
} from "./civil.js";
export { civilFromInstant, type CivilTime, type Zone } from "./zone.js";
export { getZone, supportedZones } from "./names.js";
export { formatDay, formatInstant, label, utcIso, utcIsoOrNull } from "./label.js";
export { localDateStart, parseInstant, parseLocalDate } from "./parse.js";
export { MAX_BUCKETS, buckets } from "./interval.js";
