const std = @import("std");

pub fn build(b: *std.Build) void {
    const leaf = b.dependency("leaf", .{}).module("leaf");
    _ = b.addModule("mid", .{
        .root_source_file = b.path("src/root.zig"),
        .imports = &.{.{ .name = "leaf", .module = leaf }},
    });
}
