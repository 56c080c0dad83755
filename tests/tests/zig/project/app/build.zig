const std = @import("std");

pub fn build(b: *std.Build) void {
    const mid = b.dependency("mid", .{}).module("mid");
    const exe = b.addExecutable(.{
        .name = "app",
        .root_module = b.createModule(.{
            .root_source_file = b.path("src/main.zig"),
            .target = b.graph.host,
            .imports = &.{.{ .name = "mid", .module = mid }},
        }),
    });
    b.installArtifact(exe);
}
