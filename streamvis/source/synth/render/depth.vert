#version 330
// Depth alone, for shadow maps.
uniform mat4 world_to_clip;

in vec3 position;
in vec2 uv;
in vec4 material;

in vec4 row_x;
in vec4 row_y;
in vec4 row_z;

out vec2 v_uv;
flat out vec2 v_material;

void main() {
    vec4 local = vec4(position, 1.0);
    vec3 world = vec3(dot(row_x, local), dot(row_y, local), dot(row_z, local));
    v_uv = uv;
    v_material = material.xy * 255.0;
    gl_Position = world_to_clip * vec4(world, 1.0);
    // A low sun throws from beyond the map's near plane, too.
    gl_Position.z = max(gl_Position.z, -gl_Position.w);
}
