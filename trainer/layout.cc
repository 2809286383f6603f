#include "trainer/layout.h"

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"

namespace moe {
namespace {

// The divisor of n that is nearest to `wanted`, the lower of two.
int NearestDivisor(int n, int wanted) {
  int nearest = 1;
  for (int divisor = 1; divisor <= n; ++divisor) {
    if (n % divisor != 0) continue;
    if (std::abs(divisor - wanted) < std::abs(nearest - wanted))
      nearest = divisor;
  }
  return nearest;
}

// What to give instead of an expert group that does not fit; empty if it does.
std::string NearestLayout(int num_experts, int expert, int world) {
  if (num_experts % expert != 0) {
    return absl::StrCat("; the nearest parallel.expert is ",
                        NearestDivisor(num_experts, expert));
  }
  const int lower = world / expert * expert;
  if (lower == world) return "";
  if (lower == 0)
    return absl::StrCat("; the nearest number of ranks is ", expert);
  return absl::StrCat("; the nearest numbers of ranks are ", lower, " and ",
                      lower + expert);
}

}  // namespace

absl::StatusOr<Mesh> MakeMesh(const TrainConfig& config, int world) {
  const int num_experts = config.model().num_local_experts();
  const int expert = config.parallel().expert();
  absl::StatusOr<Mesh> mesh =
      Mesh::Create(world, config.parallel().tensor(), expert, num_experts);
  if (mesh.ok() || expert <= 0) return mesh;
  return absl::Status(mesh.status().code(),
                      absl::StrCat(mesh.status().message(),
                                   NearestLayout(num_experts, expert, world)));
}

}  // namespace moe
