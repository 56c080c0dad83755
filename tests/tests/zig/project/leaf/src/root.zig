pub const word = "stone";
