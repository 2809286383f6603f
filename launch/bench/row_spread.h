#ifndef LAUNCH_BENCH_ROW_SPREAD_H_
#define LAUNCH_BENCH_ROW_SPREAD_H_

#include <cmath>
#include <cstdint>
#include <vector>

namespace moe {

// How many of the rows each expert gets.
struct RowSpread {
  const char* name;
  // Of expert i, counted from 1: its share, before all are divided by their
  // sum.
  double (*share)(double i, double num_experts);
};

inline constexpr RowSpread kRowSpreads[] = {
    {"balanced", [](double, double) { return 1.0; }},
    {"Zipf(1.2)", [](double i, double) { return std::pow(i, -1.2); }},
    {"half at one expert",
     [](double i, double num_experts) {
       return i > 1 ? 1 : std::fmax(1, num_experts - 1);
     }},
    {"one expert", [](double i, double) { return i > 1 ? 0.0 : 1.0; }}};

// Offsets of R rows of E experts, E + 1 of them from 0 to R.
std::vector<int64_t> SpreadRows(int64_t R, int64_t E, const RowSpread& spread);

}  // namespace moe

#endif  // LAUNCH_BENCH_ROW_SPREAD_H_
