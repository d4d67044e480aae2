#version 330
// Object space -> clip space; one instance is one thing on the street.
uniform mat4 world_to_clip;
uniform float shutter_s;  // time of this sample after the frame's middle

in vec3 position;
in vec3 normal;
in vec2 uv;
in vec4 colour;    // rgb as a square root, gloss
in vec4 material;  // layer, kind, glow

in vec4 row_x;  // the instance's placement in the world, by rows
in vec4 row_y;
in vec4 row_z;
in vec3 velocity;  // m/s
in vec4 paint;     // rgb linear, lamps as bits
in float owner;    // track id

out vec3 v_world;
out vec3 v_local;
out vec3 v_normal;
out vec2 v_uv;
out vec4 v_colour;
flat out vec3 v_material;
flat out vec4 v_paint;
flat out float v_owner;

void main() {
    vec4 local = vec4(position, 1.0);
    v_world = vec3(dot(row_x, local), dot(row_y, local), dot(row_z, local)) + velocity * shutter_s;
    v_normal = vec3(dot(row_x.xyz, normal), dot(row_y.xyz, normal), dot(row_z.xyz, normal));
    v_local = position;
    v_uv = uv;
    v_colour = vec4(colour.rgb * colour.rgb, colour.a);
    v_material = material.xyz * 255.0;
    v_paint = paint;
    v_owner = owner;
    gl_Position = world_to_clip * vec4(v_world, 1.0);
}
