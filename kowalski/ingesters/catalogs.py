"""The flat catalogues that are known, declared."""

from kowalski.database.indexes import Index
from kowalski.ingesters.catalog import Catalog, table_files
from kowalski.ingesters.formats.table import Layout

#: columns of Beck et al. 2021 (MNRAS 500, 1633), whose files have no header
STRM = (
    "objID", "uniquePspsOBid", "raMean", "decMean", "l", "b", "class", "prob_Galaxy", "prob_Star", "prob_QSO", "extrapolation_Class",
    "cellDistance_Class", "cellID_Class", "z_phot", "z_photErr", "z_phot0", "extrapolation_Photoz", "cellDistance_Photoz", "cellID_Photoz",
)  # fmt: skip
#: columns of the All-Sky Point Source Catalog's files (psc_*.gz), which have no header: explanatory supplement, section 2a
TWOMASS = (
    "ra", "decl", "err_maj", "err_min", "err_ang", "designation", "j_m", "j_cmsig", "j_msigcom", "j_snr", "h_m", "h_cmsig", "h_msigcom", "h_snr",
    "k_m", "k_cmsig", "k_msigcom", "k_snr", "ph_qual", "rd_flg", "bl_flg", "cc_flg", "ndet", "prox", "pxpa", "pxcntr", "gal_contam", "mp_flg",
    "pts_key", "hemis", "date", "scan", "glon", "glat", "x_scan", "jdate", "j_psfchi", "h_psfchi", "k_psfchi", "j_m_stdap", "j_msig_stdap",
    "h_m_stdap", "h_msig_stdap", "k_m_stdap", "k_msig_stdap", "dist_edge_ns", "dist_edge_ew", "dist_edge_flg", "dup_src", "use_src", "a",
    "dist_opt", "phi_opt", "b_m_opt", "vr_m_opt", "nopt_mchs", "ext_key", "scan_key", "coadd_key", "coadd",
)  # fmt: skip
VLASS = (
    "Component_name", "RA", "DEC", "E_RA", "E_DEC", "Total_flux", "E_Total_flux", "Peak_flux", "E_Peak_flux", "Maj", "E_Maj", "Min", "E_Min",
    "PA", "E_PA",
)  # fmt: skip


def _gaia(name: str, about: str, collection: str, velocity: str) -> Catalog:
    keys = ("parallax", "phot_g_mean_mag", velocity, f"{velocity}_error")
    return Catalog(
        name,
        about,
        collection,
        table_files("Gaia*"),
        ("ra", "dec"),
        "source_id",
        id_is_text=True,
        layout=Layout(comment="#"),
        more=(
            Index("ra__dec__parallax", [("ra", 1), ("dec", 1), ("parallax", 1)]),
            Index("parallax__g_mag__rv__rv_error", [(key, 1) for key in keys]),
        ),
    )


CATALOGS = (
    _gaia("gaia_edr3", "Gaia EDR3 (Gaia Collaboration 2021, A&A 649, A1): gaia_source", "Gaia_EDR3", "dr2_radial_velocity"),
    _gaia("gaia_dr3", "Gaia DR3 (Gaia Collaboration 2023, A&A 674, A1): gaia_source", "Gaia_DR3", "radial_velocity"),
    Catalog(
        "ps1_strm",
        "PS1-STRM: classes and photometric redshifts (Beck et al. 2021, MNRAS 500, 1633)",
        "PS1_STRM",
        table_files("hlsp*"),
        ("raMean", "decMean"),
        "uniquePspsOBid",
        id_is_text=True,
        layout=Layout(STRM, nulls=(-999.0,)),
        more=(
            Index(
                "class__prob_Galaxy__prob_QSO__z_phot__z_photErr",
                [(key, 1) for key in ("class", "prob_Galaxy", "prob_QSO", "z_phot", "z_photErr")],
            ),
        ),
    ),
    Catalog("ps1_dr1", "Pan-STARRS1 DR1, mean objects (Flewelling et al. 2020, ApJS 251, 7)", "PS1_DR1", table_files("ps1_dr1*", "PS1-DR1*"), id="objID", layout=Layout(nulls=(-999.0,))),
    Catalog("allwise", "AllWISE source catalogue (Cutri et al. 2013)", "AllWISE", table_files("allwise*", "wise-allwise*"), ("ra", "dec"), "cntr"),
    Catalog("2mass", "2MASS point sources (Skrutskie et al. 2006, AJ 131, 1163)", "2MASS_PSC", ("psc_*.gz", "psc_*.txt", *table_files("2mass*")), id="pts_key", layout=Layout(TWOMASS, text=frozenset({"ph_qual", "rd_flg", "bl_flg", "cc_flg", "ndet"}))),
    Catalog("igaps", "IGAPS (Monguió et al. 2020, A&A 638, A18)", "IGAPS_DR2", table_files("igaps-*"), ("RA", "DEC")),
    Catalog("vlass", "VLASS quick-look components, CIRADA (Gordon et al. 2021, ApJS 255, 30)", "VLASS_DR1", table_files("CIRADA*"), ("RA", "DEC"), "Component_name", columns=VLASS, keep=("Duplicate_flag < 2", "Quality_flag == 0")),
    Catalog("milliquas", "Million Quasars (Flesch 2023, OJAp 6, 49)", "milliquas", table_files("milliquas*"), id="Name"),
    Catalog("ned", "NED's galaxies with distances (Cook et al. 2023, ApJS 268, 14)", "NED_BetaV3", table_files("NED*"), ("ra", "dec"), "objname"),
    Catalog("clu", "Census of the Local Universe (Cook et al. 2019, ApJ 880, 7)", "CLU_20190625", table_files("CLU*"), ("ra", "dec")),
    Catalog("galex", "GALEX all-sky survey (Bianchi et al. 2017, ApJS 230, 24)", "GALEX", table_files("GALEX*", "GUVcat*"), renamed={"Name": "name"}, layout=Layout(nulls=(-999.0,))),
    Catalog("lamost", "LAMOST DR5 (Luo et al. 2015, RAA 15, 1095)", "LAMOST_DR5_v3", table_files("dr5_v3*", "LAMOST*"), id="obsid", layout=Layout(nulls=(-9999.0,))),
)  # fmt: skip
