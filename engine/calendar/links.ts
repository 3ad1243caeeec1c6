/**
 * Names of the tz database (2025b: links and `Etc`) that a runtime may accept without listing them. Which of two
 * names it lists is its own affair: Node 20 has Asia/Calcutta, not Asia/Kolkata. By area, "" for none.
 */
const LINKS_BY_AREA: Readonly<Record<string, string>> = {
  Africa: "Asmara Asmera Timbuktu",
  America: `Argentina/Buenos_Aires Argentina/Catamarca Argentina/ComodRivadavia Argentina/Cordoba
    Argentina/Jujuy Argentina/Mendoza Atikokan Atka Buenos_Aires Catamarca Coral_Harbour Cordoba Ensenada
    Fort_Wayne Godthab Indiana/Indianapolis Indianapolis Jujuy Kentucky/Louisville Knox_IN Louisville
    Mendoza Montreal Nipigon Nuuk Pangnirtung Porto_Acre Rainy_River Rosario Santa_Isabel Shiprock
    Thunder_Bay Virgin Yellowknife`,
  Antarctica: "South_Pole",
  Asia: `Ashkhabad Calcutta Choibalsan Chongqing Chungking Dacca Harbin Ho_Chi_Minh Istanbul Kashgar
    Kathmandu Katmandu Kolkata Macao Rangoon Saigon Tel_Aviv Thimbu Ujung_Pandang Ulan_Bator Yangon`,
  Atlantic: "Faeroe Faroe Jan_Mayen",
  Australia: "ACT Canberra Currie LHI NSW North Queensland South Tasmania Victoria West Yancowinna",
  Brazil: "Acre DeNoronha East West",
  Canada: "Atlantic Central Eastern Mountain Newfoundland Pacific Saskatchewan Yukon",
  Chile: "Continental EasterIsland",
  Etc: `GMT GMT+0 GMT+1 GMT+10 GMT+11 GMT+12 GMT+2 GMT+3 GMT+4 GMT+5 GMT+6 GMT+7 GMT+8 GMT+9 GMT-0 GMT-1
    GMT-10 GMT-11 GMT-12 GMT-13 GMT-14 GMT-2 GMT-3 GMT-4 GMT-5 GMT-6 GMT-7 GMT-8 GMT-9 GMT0 Greenwich UCT
    UTC Universal Zulu`,
  Europe: "Belfast Kiev Kyiv Nicosia Tiraspol Uzhgorod Zaporozhye",
  Mexico: "BajaNorte BajaSur General",
  Pacific: "Chuuk Enderbury Johnston Kanton Pohnpei Ponape Samoa Truk Yap",
  US: `Alaska Aleutian Arizona Central East-Indiana Eastern Hawaii Indiana-Starke Michigan Mountain Pacific
    Samoa`,
  "": `CET CST6CDT Cuba EET EST EST5EDT Egypt Eire GB GB-Eire GMT GMT+0 GMT-0 GMT0 Greenwich HST Hongkong
    Iceland Iran Israel Jamaica Japan Kwajalein Libya MET MST MST7MDT NZ NZ-CHAT Navajo PRC PST8PDT Poland
    Portugal ROC ROK Singapore Turkey UCT UTC Universal W-SU WET Zulu`,
};

export function linkNames(): string[] {
  return Object.entries(LINKS_BY_AREA).flatMap(([area, names]) =>
    names.split(/\s+/).map((name) => (area === "" ? name : `${area}/${name}`)),
  );
}

/** What people write for a zone, and a zone that they probably mean. None of these is an IANA name. */
export const ABBREVIATIONS: Readonly<Record<string, string>> = {
  ACDT: "Australia/Adelaide",
  ACST: "Australia/Darwin",
  ADT: "America/Halifax",
  AEDT: "Australia/Sydney",
  AEST: "Australia/Sydney",
  AKDT: "America/Anchorage",
  AKST: "America/Anchorage",
  ART: "America/Argentina/Buenos_Aires",
  AST: "America/Halifax",
  AWST: "Australia/Perth",
  BRT: "America/Sao_Paulo",
  BST: "Europe/London",
  CAT: "Africa/Maputo",
  CDT: "America/Chicago",
  CEST: "Europe/Berlin",
  COT: "America/Bogota",
  CST: "America/Chicago",
  EAT: "Africa/Nairobi",
  EDT: "America/New_York",
  EEST: "Europe/Athens",
  ET: "America/New_York",
  CT: "America/Chicago",
  MT: "America/Denver",
  PT: "America/Los_Angeles",
  GST: "Asia/Dubai",
  HKT: "Asia/Hong_Kong",
  ICT: "Asia/Bangkok",
  IDT: "Asia/Jerusalem",
  IRST: "Asia/Tehran",
  IST: "Asia/Kolkata",
  JST: "Asia/Tokyo",
  KST: "Asia/Seoul",
  MDT: "America/Denver",
  MSK: "Europe/Moscow",
  MYT: "Asia/Kuala_Lumpur",
  NDT: "America/St_Johns",
  NPT: "Asia/Kathmandu",
  NST: "America/St_Johns",
  NZDT: "Pacific/Auckland",
  NZST: "Pacific/Auckland",
  PDT: "America/Los_Angeles",
  PHT: "Asia/Manila",
  PKT: "Asia/Karachi",
  PST: "America/Los_Angeles",
  SAST: "Africa/Johannesburg",
  SGT: "Asia/Singapore",
  SST: "Pacific/Pago_Pago",
  TRT: "Europe/Istanbul",
  WAT: "Africa/Lagos",
  WEST: "Europe/Lisbon",
  WIB: "Asia/Jakarta",
  Z: "UTC",
};
