#version 330
// What each pixel shows, before there is light.
uniform sampler2DArray textures;
uniform vec3 eye;
uniform vec3 forward;
uniform float wet;        // 0 dry, 1 after an hour of rain
uniform float lit_rooms;  // share of windows with light behind them

in vec3 v_world;
in vec3 v_local;
in vec3 v_normal;
in vec2 v_uv;
in vec4 v_colour;
flat in vec3 v_material;
flat in vec4 v_paint;
flat in float v_owner;

layout(location = 0) out vec4 out_albedo;  // square root of rgb, gloss
layout(location = 1) out vec4 out_normal;  // xyz, glow
layout(location = 2) out vec2 out_ids;     // track id + trait / 8, depth m

// Kinds of mesh.py.
const int MARK = 4, WINDOW = 5, PAVING = 6;
const float LEAF = 1.0, WET = 2.0, MIRROR = 3.0;  // traits

vec3 linear(vec3 srgb) { return srgb * srgb; }

// One of FRONT, LEAVES, VEHICLE and GROUND is defined: software renderers run every branch of a
// shader, and one that may discard draws what is hidden too.

#ifdef FRONT
void surface(inout vec3 albedo, inout float gloss, inout float glow, inout vec3 normal, inout float trait) {
    int kind = int(v_material.y + 0.5);
    vec4 texel = texture(textures, vec3(v_uv, v_material.x), -0.3);
    vec3 colour = linear(texel.rgb);
    if (kind == WINDOW) {  // the colour's red is the room's number
        float room = v_colour.r;
        albedo = colour;
        gloss = 0.9 * (1.0 - texel.a);
        trait = gloss > 0.3 ? MIRROR : 0.0;
        if (room < lit_rooms) {
            vec3 warm = mix(vec3(1.0, 0.62, 0.30), vec3(1.0, 0.86, 0.66), fract(room * 57.0));
            albedo = mix(warm * (0.25 + 0.9 * sqrt(colour)), colour, texel.a);
            glow = (1.0 - texel.a) * (0.35 + 0.5 * fract(room * 91.0));
            gloss *= 0.4;
        }
    } else {
        albedo *= colour;
    }
}
#endif

#ifdef LEAVES
void surface(inout vec3 albedo, inout float gloss, inout float glow, inout vec3 normal, inout float trait) {
    vec4 texel = texture(textures, vec3(v_uv, v_material.x), -0.3);
    if (texel.a < 0.5) discard;
    albedo *= linear(texel.rgb);
    normal = normalize(v_normal);  // shaded as one round body
    trait = LEAF;
}
#endif

#ifdef VEHICLE
bool lamp(int bit) { return (int(v_paint.a) & bit) != 0; }

void surface(inout vec3 albedo, inout float gloss, inout float glow, inout vec3 normal, inout float trait) {
    vec4 texel = texture(textures, vec3(v_uv, v_material.x), -0.3);
    vec4 parts = texture(textures, vec3(v_uv, v_material.x + 1.0), -0.3);
    albedo = linear(texel.rgb) * mix(vec3(1.0), v_paint.rgb * 1.15, texel.a);
    gloss = parts.r;
    trait = MIRROR;
    vec3 light = parts.g * (lamp(1) ? vec3(9.0, 8.6, 7.6) : vec3(0.25));
    light += parts.b * vec3(1.0, 0.04, 0.02) * (lamp(2) ? 5.0 : lamp(1) ? 1.1 : 0.06);
    if (lamp(4) && v_local.y > 0.0 || lamp(8) && v_local.y < 0.0)
        light += parts.b * vec3(4.0, 1.6, 0.05) + parts.g * vec3(3.0, 1.2, 0.05);
    glow = max(light.r, max(light.g, light.b));
    if (glow > 0.02) albedo = mix(albedo, light / glow, clamp(glow * 2.0, 0.0, 1.0));
}
#endif

#ifdef GROUND
void surface(inout vec3 albedo, inout float gloss, inout float glow, inout vec3 normal, inout float trait) {
    int kind = int(v_material.y + 0.5);
    float layer = v_material.x;
    vec3 base = linear(texture(textures, vec3(v_world.xy / (kind == PAVING ? 2.4 : 2.9), layer)).rgb);
    vec3 stain = texture(textures, vec3(v_world.xy / 9.3, 1.0)).rgb;
    vec3 fine = texture(textures, vec3(v_world.yx / 1.7, 1.0)).rgb;
    if (kind == MARK) {
        float speck = texture(textures, vec3(v_world.xy / 0.53, 1.0)).b;
        float cover = smoothstep(0.10, 0.34, 0.45 * fine.g + 0.25 * fine.b + 0.5 * speck);
        base = mix(base, albedo * (0.75 + 0.5 * stain.g), 0.92 * cover);
    } else {
        base *= albedo * (0.92 + 0.16 * stain.g) * (0.96 + 0.08 * fine.b);
    }
    albedo = base;
    if (wet > 0.0) {
        float puddle = smoothstep(0.50, 0.62, stain.r + 0.10 * (wet - 1.0));
        float film = wet * mix(0.45, 1.0, puddle);
        albedo *= 1.0 - 0.55 * film;
        gloss = mix(gloss, kind == PAVING ? 0.55 : 0.75, film);
        trait = WET;
    }
}
#endif

void main() {
    vec3 albedo = v_colour.rgb, normal = normalize(v_normal);
    if (dot(normal, v_world - eye) > 0.0) normal = -normal;
    float gloss = v_colour.a, glow = v_material.z / 16.0, trait = 0.0;
    surface(albedo, gloss, glow, normal, trait);
    out_albedo = vec4(sqrt(clamp(albedo, 0.0, 1.0)), gloss);
    out_normal = vec4(normal, glow);
    out_ids = vec2(v_owner + trait / 8.0, dot(v_world - eye, forward));
}
