pub const words = "dry" ++ @import("leaf").word;
